"""Which Nodes concern a Workspace, and which of them others fill: asked of the caches. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.objects import Node, Pod
from kube.store import Store
from workspace_controller.nodes import byo, unmanaged
from workspace_controller.nodes.provisioner import preferred_nodes, user_labels
from workspace_controller.workspace import owner

BY_OWNER = "workspace"
BY_NODE = "node"
BY_UNMANAGED = "unmanaged"
UNMANAGED = "yes"
"""The one value of that index."""


def pod_node(pod: Pod) -> tuple[str, ...]:
    """Where it is, while it takes room there."""
    return (pod.spec.node_name,) if pod.spec.node_name and not pod.ended else ()


def preferred(workspace: Workspace) -> tuple[str, ...]:
    return preferred_nodes(workspace)


def is_unmanaged(node: Node) -> tuple[str, ...]:
    """Nodes that nobody has bought for a Workspace: few, where most come by claims."""
    return (UNMANAGED,) if unmanaged.is_nobodys(node) else ()


def brought(workspace: Workspace, nodes: Store[Node]) -> tuple[Node, ...]:
    """Where all nodes are brought along: those that are named, and those that are selected."""
    return tuple(byo.selected(workspace, nodes.list()))


def provisioned(
    workspace: Workspace, claims: Iterable[NodeClaim], nodes: Store[Node], *, pooled: bool
) -> tuple[Node, ...]:
    """Where nodes are asked for: those that carry the Workspace's labels, those that its claims
    name, those that it names itself and, with pools, those that the user's labels select."""
    named = [claim.status.node_name for claim in claims] + list(preferred_nodes(workspace))
    found = {
        node.metadata.name: node for node in nodes.by_index(BY_OWNER, str(workspace.metadata.key))
    }
    found |= {name: node for name in named if (node := nodes.get(name)) is not None}
    wanted = user_labels(workspace) if pooled else {}
    if wanted:
        found |= {
            node.metadata.name: node
            for node in nodes.by_index(BY_UNMANAGED, UNMANAGED)
            if wanted.items() <= node.metadata.labels.items()
        }
    return tuple(found[name] for name in sorted(found))


def taken(
    workspace: Workspace, nodes: Iterable[Node], pods: Store[Pod], workspaces: Store[Workspace]
) -> frozenset[str]:
    """The nodes that another Workspace fills. One that serves on a part of a node's GPUs leaves
    room for others; any other has planned with the whole node."""
    own = workspace.metadata.key
    found = set()
    for node in nodes:
        there = pods.by_index(BY_NODE, node.metadata.name)
        keys = {key for pod in there for key in owner.of_child(pod)}
        others = [workspaces.get(key.name, key.namespace) for key in keys]
        if own not in keys and any(_fills(other) for other in others):
            found.add(node.metadata.name)
    return frozenset(found)


def _fills(other: Workspace | None) -> bool:
    return other is None or other.resource is None or other.resource.partition is None
