"""Pools and node classes for tests, and a cloud that has both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.nodeclass import NodeClass, NodeClassCondition, NodeClassStatus, static_hash
from cloudproviders.provider import GroupKind
from kube.meta import Manifest, Resource
from tests.fakes.cloud import FakeCloud
from tests.fakes.objects import KAITO_NODE_CLASS

AKS: Resource[NodeClass] = Resource(
    "karpenter.azure.com", "v1beta1", "AKSNodeClass", "aksnodeclasses", NodeClass, namespaced=False
)
AKS_KIND = GroupKind(AKS.group, AKS.kind)
AKS_REF = {"group": AKS.group, "kind": AKS.kind, "name": "gpu"}


class PooledCloud(FakeCloud):
    """Knows KaitoNodeClass, a mere name, and AKSNodeClass, an object with conditions."""

    node_classes: Sequence[GroupKind] = (GroupKind("kaito.sh", "KaitoNodeClass"), AKS_KIND)
    node_class_resources = (AKS,)

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.drifted: dict[str, str] = {}
        """Claim name → what `is_drifted` says."""
        self.asked: list[str] = []
        """Claims that `is_drifted` was asked about."""
        self.verdict: tuple[NodeClassCondition, ...] = (
            NodeClassCondition("SubnetsReady", "True"),
            NodeClassCondition("ImagesReady", "True"),
        )
        self.fields: dict[str, Any] = {"images": [{"id": "image-1"}]}
        self.unresolved: Exception | None = None

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        self.asked.append(claim.metadata.name)
        return self.drifted.get(claim.metadata.name, "")

    async def resolve(self, node_class: NodeClass, /) -> NodeClassStatus:
        if self.unresolved is not None:
            raise self.unresolved
        return NodeClassStatus(
            conditions=self.verdict,
            fields=self.fields,
            hash=static_hash(node_class.spec, without=["tags"]),
        )


def pool_manifest(
    name: str = "pool",
    *,
    replicas: int | None = 2,
    node_class_ref: dict[str, str] | None = None,
    requirements: list[dict[str, Any]] | None = None,
    template: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Manifest:
    """A static pool of one instance type; `template` is merged into the claims' spec."""
    one_type = {
        "key": "node.kubernetes.io/instance-type",
        "operator": "In",
        "values": ["fake-gpu-1"],
    }
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "template": {
                "metadata": {"labels": labels or {}, "annotations": annotations or {}},
                "spec": {
                    "nodeClassRef": node_class_ref or KAITO_NODE_CLASS,
                    "requirements": [one_type] if requirements is None else requirements,
                    "expireAfter": "Never",
                    **(template or {}),
                },
            },
            **spec,
        },
    }


def class_manifest(name: str = "gpu", **spec: Any) -> Manifest:
    return {
        "apiVersion": AKS.api_version,
        "kind": AKS.kind,
        "metadata": {"name": name},
        "spec": spec,
    }
