"""Whose round a change of a Node, or of a pod on one, starts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Key
from kube.objects import Node, Pod
from kube.store import Store
from workspace_controller.marks import Marks
from workspace_controller.nodes import byo, candidates
from workspace_controller.nodes.candidates import BY_NODE

BY_PREFERRED = "preferred"


@dataclass(frozen=True, slots=True)
class NodeWakes:
    """Of one kind of owner. `owners` has the index BY_PREFERRED, `node_claims` has BY_NODE."""

    marks: Marks
    owners: Store[Any]
    node_claims: Store[NodeClaim]
    nodes: Store[Node]
    byo: bool
    pooled: bool

    def of_node(self, node: Node) -> Iterable[Key]:
        """By its labels, by the claim or owner that names it, or by the selectors that match
        it."""
        name = node.metadata.name
        found = set(self.marks.of_cluster_scoped(node))
        found |= {each.metadata.key for each in self.owners.by_index(BY_PREFERRED, name)}
        for claim in self.node_claims.by_index(BY_NODE, name):
            found.update(self.marks.of_cluster_scoped(claim))
        if self.byo or (self.pooled and candidates.is_unmanaged(node)):
            found.update(self._selecting(node))
        return found

    def beside(self, pod: Pod) -> Iterable[Key]:
        """Who might have used the node that a pod takes, or has left."""
        node = self.nodes.get(pod.spec.node_name)
        return [] if node is None else self._selecting(node)

    def _selecting(self, node: Node) -> list[Key]:
        asking = (each for each in self.owners.list() if each.resource is not None)
        return [each.metadata.key for each in asking if byo.selected(each, (node,))]


def takes_room_elsewhere(old: Pod, new: Pod) -> bool:
    return candidates.pod_node(old) != candidates.pod_node(new)
