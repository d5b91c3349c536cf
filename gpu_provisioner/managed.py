"""Which claims and nodes are ours; anybody else's are never touched. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.provider import GroupKind
from cloudproviders.selection import KAITO_LABELS
from kube.objects import Node


class Managed:
    """Ownership by node class, as Karpenter has it, or by KAITO's labels."""

    def __init__(self, node_classes: Iterable[GroupKind]) -> None:
        self._node_classes = frozenset(node_classes)
        self._node_labels = (
            *KAITO_LABELS,
            *(labels.node_class_label(*each) for each in self._node_classes),
        )

    def node_class(self, kind: GroupKind) -> bool:
        """Whether its objects are ours to judge; a cloud may only have to read them."""
        return kind in self._node_classes

    def claim(self, claim: NodeClaim) -> bool:
        ref = claim.spec.node_class_ref
        return GroupKind(ref.group, ref.kind) in self._node_classes or any(
            label in claim.metadata.labels for label in KAITO_LABELS
        )

    def pool(self, pool: NodePool) -> bool:
        """By its node class alone: no pool is KAITO's by label."""
        ref = pool.spec.template.spec.node_class_ref
        return GroupKind(ref.group, ref.kind) in self._node_classes

    def node(self, node: Node) -> bool:
        """Registration copies the claim's labels, the one of its node class among them."""
        return any(label in node.metadata.labels for label in self._node_labels)
