"""Which Nodes concern an owner, and which of them others fill: asked of the caches. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Key
from kube.objects import Node, Pod
from kube.store import Store
from workspace_controller import marks
from workspace_controller.marks import Marks, Owner
from workspace_controller.nodes import byo, unmanaged
from workspace_controller.nodes.asking import NodeOwner
from workspace_controller.nodes.provisioner import preferred_nodes, user_labels

BY_OWNER = "workspace"
BY_RAG_ENGINE = "ragengine"
"""As BY_OWNER, of the other kind: Stores of claims and nodes have both."""
BY_NODE = "node"
BY_UNMANAGED = "unmanaged"
UNMANAGED = "yes"
"""The one value of that index."""

_INDEXES = {marks.WORKSPACE.kind: BY_OWNER, marks.RAG_ENGINE.kind: BY_RAG_ENGINE}


@dataclass(frozen=True, slots=True)
class Occupants:
    """Pods of one kind of owner, with the index BY_NODE. `fills` says of an owner whether it has
    its node for itself."""

    marks: Marks
    pods: Store[Pod]
    fills: Callable[[Key], bool]

    def on(self, node: str) -> set[Key]:
        """Whose pods are there."""
        there = self.pods.by_index(BY_NODE, node)
        return {key for pod in there for key in self.marks.of_child(pod)}


def index_of(owner: Owner) -> str:
    """The index by which claims and nodes of such an owner are found."""
    return _INDEXES[owner.kind]


def pod_node(pod: Pod) -> tuple[str, ...]:
    """Where it is, while it takes room there."""
    return (pod.spec.node_name,) if pod.spec.node_name and not pod.ended else ()


def claim_node(claim: NodeClaim) -> tuple[str, ...]:
    return (claim.status.node_name,) if claim.status.node_name else ()


def preferred(owner: NodeOwner) -> tuple[str, ...]:
    return preferred_nodes(owner)


def is_unmanaged(node: Node) -> tuple[str, ...]:
    """Nodes that nobody has bought for anybody: few, where most come by claims."""
    return (UNMANAGED,) if unmanaged.is_nobodys(node) else ()


def brought(owner: NodeOwner, nodes: Store[Node]) -> tuple[Node, ...]:
    """Where all nodes are brought along: those that are named, and those that are selected."""
    return tuple(byo.selected(owner, nodes.list()))


def provisioned(
    owner: NodeOwner, claims: Iterable[NodeClaim], nodes: Store[Node], *, pooled: bool
) -> tuple[Node, ...]:
    """Where nodes are asked for: those that carry the owner's labels, those that its claims
    name, those that it names itself and, with pools, those that the user's labels select."""
    named = [claim.status.node_name for claim in claims] + list(preferred_nodes(owner))
    own = nodes.by_index(index_of(owner), str(owner.metadata.key))
    found = {node.metadata.name: node for node in own}
    found |= {name: node for name in named if (node := nodes.get(name)) is not None}
    wanted = user_labels(owner) if pooled else {}
    if wanted:
        found |= {
            node.metadata.name: node
            for node in nodes.by_index(BY_UNMANAGED, UNMANAGED)
            if wanted.items() <= node.metadata.labels.items()
        }
    return tuple(found[name] for name in sorted(found))


def taken(
    owner: NodeOwner, nodes: Iterable[Node], occupants: Iterable[Occupants]
) -> frozenset[str]:
    """The nodes that others fill, and on which none of the owner's pods is."""
    everybody, own = tuple(occupants), owner.metadata.key
    found = set()
    for node in nodes:
        there = [(each, each.on(node.metadata.name)) for each in everybody]
        ours = any(owner.kind == each.marks.kind and own in keys for each, keys in there)
        if not ours and any(each.fills(key) for each, keys in there for key in keys):
            found.add(node.metadata.name)
    return frozenset(found)
