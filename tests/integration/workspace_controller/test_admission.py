"""What the API server refuses by the CRD alone, in the words of `kaito validate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from workspace_cluster import Cluster
from workspace_crd import altered, unruled

from apis.kaito import admission
from apis.kaito.v1beta1.workspace import WORKSPACES
from kube.errors import InvalidError
from kube.meta import Manifest
from tests import refusals
from tests.refusals import Refusal

_SHOWN = re.compile(r'^Invalid value: (("([^"\\]|\\.)*"|[0-9]+): )?')
"""What the API server puts before a rule's words: the value, or its type."""


@pytest.mark.parametrize("case", refusals.REFUSALS, ids=lambda case: case.id)
async def test_the_api_server_refuses_it_alone(cluster: Cluster, case: Refusal):
    if case.old is None:
        said = await _said(cluster.client.create(_here(cluster, case.new)))
    else:
        await cluster.client.create(_here(cluster, case.old))
        said = await _said(_update(cluster, case.old, case.new))
    expected = admission.refusals(case.new, refusals.FACTS, case.old)
    assert sorted(said) == sorted((_located(each.path), each.message) for each in expected)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"tuning.method": "Full"}, id="W-C27 full"),
        pytest.param(
            {"tuning.input": {"huggingFace": f"owner/data@{'a' * 40}"}}, id="W-C29 Hugging Face"
        ),
    ],
)
async def test_what_kaito_lacks_is_taken(cluster: Cluster, fields: Manifest):
    manifest = refusals.changed(refusals.TUNED, fields)
    assert admission.refusals(manifest, refusals.FACTS) == []
    stored = await cluster.client.create(_here(cluster, manifest))
    assert stored["tuning"]["method"] == manifest["tuning"]["method"]


async def test_what_has_become_invalid_can_be_reported_on_and_go(cluster: Cluster, installed: Path):
    """Upstream's incident: after an upgrade Workspaces could neither be edited nor deleted."""
    async with altered(installed, unruled, lambda: _anything_goes(cluster)):
        await cluster.client.create(_here(cluster, INVALID))

    async def patch(fields: Manifest, subresource: str = "") -> None:
        await cluster.client.patch(
            WORKSPACES, "ws", fields, namespace=cluster.namespace, subresource=subresource
        )

    await patch({"status": {"state": "NotReady"}}, "status")
    await patch({"metadata": {"finalizers": ["kaito.sh/test"], "annotations": {"a": "b"}}})
    await patch({"resource": {"preferredNodes": ["n1"]}})
    await cluster.client.delete(WORKSPACES, "ws", namespace=cluster.namespace)
    await patch({"metadata": {"finalizers": None}})
    assert await cluster.client.get(WORKSPACES, "ws", cluster.namespace) is None


INVALID = refusals.changed(
    refusals.SERVED,
    {
        "resource.labelSelector.matchExpressions": [{"key": "a", "operator": "Exists"}],
        "resource.partition": {"mode": "mig", "count": 2},
        "inference.template": {"spec": {"containers": []}},
        "inference.preset.accessMode": "private",
        "inference.adapters": [
            *({"strength": "5"} for _ in range(11)),
            {"source": {"volumeSource": {"emptyDir": {}}, "image": "a"}},
        ],
        "tuning": {
            "input": {"image": "A", "volumeSource": {"emptyDir": {}}},
            "output": {"image": "a", "volumeSource": {"emptyDir": {}}},
        },
    },
)
"""As an API server without our rules has stored it."""


async def _anything_goes(cluster: Cluster) -> bool:
    probe = _here(cluster, refusals.changed(refusals.SERVED, {"inference": {}}))
    probe["metadata"]["name"] = "probe"
    try:
        await cluster.client.create(probe)
    except InvalidError:
        return False
    await cluster.client.delete(WORKSPACES, "probe", namespace=cluster.namespace)
    return True


async def _said(request: Any) -> list[tuple[str, str]]:
    """Field and message of each of the API server's causes."""
    with pytest.raises(InvalidError) as refused:
        await request
    causes = refused.value.details.get("causes") or [{"message": refused.value.message}]
    return [(cause.get("field", ""), _SHOWN.sub("", cause["message"])) for cause in causes]


def _located(path: str) -> str:
    """A CRD does not describe what is in `metadata`, so no rule can point there."""
    return "metadata" if path.startswith("metadata.") else path


def _here(cluster: Cluster, manifest: Manifest) -> Manifest:
    metadata = {**manifest["metadata"], "namespace": cluster.namespace}
    return {**manifest, "metadata": metadata}


async def _update(cluster: Cluster, old: Manifest, new: Manifest) -> None:
    name, patch = old["metadata"]["name"], _difference(old, new)
    await cluster.client.patch(WORKSPACES, name, patch, namespace=cluster.namespace)


def _difference(old: Manifest, new: Manifest) -> Manifest:
    """A merge patch that makes `new` of `old`."""
    patch: Manifest = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            patch[key] = _difference(old[key], value)
        elif value != old.get(key):
            patch[key] = value
    return patch
