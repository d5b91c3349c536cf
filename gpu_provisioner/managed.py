"""Which claims and nodes are ours; anybody else's are never touched. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.provider import GroupKind
from kube.objects import Node

KAITO_LABELS = ("kaito.sh/workspace", "kaito.sh/ragengine")
"""A claim with one of these is gpu-provisioner's, whatever node class it refers to."""


class Managed:
    """Ownership by node class, as Karpenter has it, or by KAITO's labels."""

    def __init__(self, node_classes: Iterable[GroupKind]) -> None:
        self._node_classes = frozenset(node_classes)
        self._node_labels = (
            *KAITO_LABELS,
            *(labels.node_class_label(*each) for each in self._node_classes),
        )

    def claim(self, claim: NodeClaim) -> bool:
        ref = claim.spec.node_class_ref
        return GroupKind(ref.group, ref.kind) in self._node_classes or any(
            label in claim.metadata.labels for label in KAITO_LABELS
        )

    def node(self, node: Node) -> bool:
        """Registration copies the claim's labels, the one of its node class among them."""
        return any(label in node.metadata.labels for label in self._node_labels)
