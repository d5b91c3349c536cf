"""Nodes that are there without having been asked for, and may take an owner's pods. Pure.

What counts here is not bought, so it must be within reach of the pods: `reach` of a provisioner
and these questions say the same thing, once as a term and once as a predicate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apis.kaito.v1beta1 import labels
from apis.karpenter.v1.labels import (
    INSTANCE_TYPE_LABEL,
    NODEPOOL_LABEL,
    REGISTERED_LABEL,
    UNREGISTERED_TAINT,
)
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Manifest
from kube.objects import Node, Pod, Unstructured
from workspace_controller import marks
from workspace_controller.manifests import scheduling
from workspace_controller.manifests.nodeclaim import owner_labels
from workspace_controller.nodes import readiness
from workspace_controller.nodes.asking import NodeOwner, NodesSeen
from workspace_controller.nodes.provisioner import NodeShape, preferred_nodes, user_labels

_WORKSPACES = marks.WORKSPACE.keys
"""Keys that mark a node as some Workspace's. Those of RAGEngines would say nothing more in a pod's
affinity, since their nodes are bought, and whatever changes there rolls all pods."""
_OWNERS = frozenset(key for each in marks.ALL for key in each.keys)
"""Keys that mark a node as somebody's."""

_BOUGHT = frozenset({REGISTERED_LABEL, NODEPOOL_LABEL})
_NOT_READY_TAINT = "node.kubernetes.io/not-ready"
"""Goes by itself a moment after the node's condition says Ready, which is what is asked here."""
_TOLERATED = frozenset({labels.GPU_RESOURCE, labels.SKU_TAINT_KEY, _NOT_READY_TAINT})
_KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})


def marked(owner: NodeOwner, seen: NodesSeen, shape: NodeShape) -> list[Node]:
    """Nodes that carry the owner's own labels and that no claim has brought: one that is not
    ready just now is waited for, not replaced at a price. A node on its way in or out through a
    claim is not among them."""
    wanted = {**user_labels(owner), **owner_labels(owner)}
    return [
        node
        for node in _unclaimed(seen)
        if wanted.items() <= node.metadata.labels.items()
        and all(taint.key != UNREGISTERED_TAINT for taint in node.spec.taints)
        and readiness.is_of_type(node, shape.instance_type)
        and node.metadata.deletion_timestamp is None
    ]


def labelled(owner: NodeOwner, seen: NodesSeen, shape: NodeShape) -> list[Node]:
    """Nodes with the user's labels that are nobody's, and can be used as they are now."""
    wanted = user_labels(owner)
    if not wanted:
        return []
    return [
        node
        for node in _unclaimed(seen)
        if wanted.items() <= node.metadata.labels.items()
        and not node.metadata.labels.keys() & _OWNERS
        and _usable(node, seen, shape)
    ]


def preferred(owner: NodeOwner, seen: NodesSeen, shape: NodeShape) -> list[Node]:
    """Nodes that the user has named, and that can be used as they are now."""
    named = set(preferred_nodes(owner))
    return [
        node
        for node in seen.nodes
        if node.metadata.name in named
        and node.metadata.name not in _claimed(seen.claims)
        and _usable(node, seen, shape)
        and not _anothers(owner, node)
    ]


def reach_preferred(owner: NodeOwner, instance_type: str = "") -> tuple[Manifest, ...]:
    """The terms by which pods find what `preferred` counts."""
    of_type = {INSTANCE_TYPE_LABEL: instance_type} if instance_type else {}
    return tuple(scheduling.named(name, of_type) for name in preferred_nodes(owner))


def reach_labelled(owner: NodeOwner, instance_type: str) -> tuple[Manifest, ...]:
    """The term by which pods find what `labelled` counts."""
    wanted = user_labels(owner)
    if not wanted:
        return ()
    of_type = {INSTANCE_TYPE_LABEL: instance_type}
    return (scheduling.labelled({**wanted, **of_type}, without=(*_WORKSPACES, *sorted(_BOUGHT))),)


def is_nobodys(node: Node) -> bool:
    """Neither bought nor marked as somebody's."""
    return not node.metadata.labels.keys() & {*_BOUGHT, *_OWNERS}


def each_once(*groups: Iterable[Node]) -> list[Node]:
    found = {node.metadata.name: node for group in groups for node in group}
    return [found[name] for name in sorted(found)]


def busy(pods: Iterable[Pod]) -> frozenset[str]:
    """The nodes on which pods take room."""
    return frozenset(pod.spec.node_name for pod in pods if not pod.ended) - {""}


def has_shrunk(stateful_set: Unstructured | None, replicas: int) -> bool:
    """Whether the workload is down to what it should be, so that what it left is left for good."""
    if stateful_set is None:
        return True
    status = stateful_set.status
    return bool(
        stateful_set.spec.get("replicas") == replicas
        and status.get("readyReplicas", 0) == replicas
        and status.get("replicas", 0) == replicas
    )


def is_open(node: Node) -> bool:
    """Whether pods may be put there now."""
    return not node.spec.unschedulable and all(
        taint.key in _TOLERATED or taint.effect not in _KEEPS_AWAY for taint in node.spec.taints
    )


def _usable(node: Node, seen: NodesSeen, shape: NodeShape) -> bool:
    name = node.metadata.name
    # The label exactly, as a pod's affinity compares it.
    type_ = node.metadata.labels.get(INSTANCE_TYPE_LABEL, "")
    return (
        readiness.is_up(node)
        and type_ == (shape.instance_type or type_)
        and readiness.gpus(node, shape) >= shape.gpu.count
        and name not in seen.taken
        and (is_open(node) or name in busy(seen.pods))
    )


def _unclaimed(seen: NodesSeen) -> list[Node]:
    claimed = _claimed(seen.claims)
    return [
        node
        for node in seen.nodes
        if node.metadata.name not in claimed
        and not node.metadata.labels.keys() & _BOUGHT
        and not _may_be_awaited(node, seen.claims)
    ]


def _claimed(claims: Iterable[NodeClaim]) -> set[str]:
    return {claim.status.node_name for claim in claims}


def _anothers(owner: NodeOwner, node: Node) -> bool:
    """A node that was made for another goes with it."""
    said, mine = node.metadata.labels, marks.of(owner)
    own = (owner.metadata.name, owner.metadata.namespace)
    return any(
        name in said and (each is not mine or (said.get(name), said.get(namespace)) != own)
        for each in marks.ALL
        for name, namespace in each.pairs
    )


def _may_be_awaited(node: Node, claims: Sequence[NodeClaim]) -> bool:
    """Whether a claim may have brought the node and not said so yet: one that names no node and
    is older. Providers that put no unregistered taint on their machines leave this moment open,
    and to count the node twice in it would delete the very claim that it came from."""
    born = node.metadata.creation_timestamp
    return any(
        not claim.status.node_name
        and (claim.status.provider_id in {"", node.spec.provider_id})
        and (born is None or (claim.metadata.creation_timestamp or born) <= born)
        for claim in claims
    )
