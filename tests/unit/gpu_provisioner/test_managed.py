"""Which claims and nodes are ours."""

from __future__ import annotations

import msgspec
import pytest

from cloudproviders.provider import GroupKind
from gpu_provisioner.managed import Managed
from kube.objects import NODES
from tests.fakes import objects

MANAGED = Managed([GroupKind("kaito.sh", "KaitoNodeClass")])
FOREIGN = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"}


@pytest.mark.parametrize(
    ("ref", "labels", "ours"),
    [
        pytest.param(None, {}, True, id="our node class"),
        pytest.param(FOREIGN, {}, False, id="another's"),
        pytest.param(FOREIGN, {"kaito.sh/workspace": "phi"}, True, id="of a workspace"),
        pytest.param(FOREIGN, {"kaito.sh/ragengine": "rag"}, True, id="of a RAG engine"),
        pytest.param(FOREIGN, {"kaito.sh/other": "x"}, False, id="of something else"),
        pytest.param(
            {"group": "other.sh", "kind": "KaitoNodeClass", "name": "default"},
            {},
            False,
            id="our kind of another group",
        ),
    ],
)
def test_claims(ref: dict[str, str] | None, labels: dict[str, str], ours: bool) -> None:
    assert MANAGED.claim(objects.claim(node_class_ref=ref, labels=labels)) is ours


@pytest.mark.parametrize(
    ("label", "ours"),
    [
        ("kaito.sh/kaitonodeclass", True),
        ("kaito.sh/workspace", True),
        ("kaito.sh/ragengine", True),
        ("karpenter.azure.com/aksnodeclass", False),
        ("karpenter.sh/nodepool", False),
    ],
)
def test_nodes(label: str, ours: bool) -> None:
    manifest = objects.node_manifest("x:///1", labels={label: "y"})

    assert MANAGED.node(NODES.decode(msgspec.json.encode(manifest))) is ours
