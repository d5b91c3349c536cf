"""Which nodes of a pool go first: those that are missed least. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner import duration
from gpu_provisioner.node import drain
from kube.objects import Node, Pod

Rank = tuple[int, float, str]

DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
_NOT_BOUGHT, _EMPTY, _BUSY, _PROTECTED = range(4)


def rank(claim: NodeClaim, nodes: Iterable[Node], pods: Iterable[Pod], now: datetime) -> Rank:
    """Lowest first: not bought yet, empty, the cheapest to move, those that ask to be left.

    What moving costs shrinks with what is left of the node's life, since it will go anyway.
    """
    if not claim.status.provider_id:
        return (_NOT_BOUGHT, 0.0, claim.metadata.name)
    moved = [pod for pod in pods if _moves(pod)]
    cost = sum(_cost(pod) for pod in moved) * _left(claim, now)
    if protected(claim, nodes, moved, now):
        return (_PROTECTED, cost, claim.metadata.name)
    return (_BUSY if moved else _EMPTY, cost, claim.metadata.name)


def protected(claim: NodeClaim, nodes: Iterable[Node], pods: Iterable[Pod], now: datetime) -> str:
    """Who asks that the node be left alone: itself, or the name of a pod; "" where nobody does."""
    for metadata in (claim.metadata, *(node.metadata for node in nodes)):
        if metadata.annotations.get(labels.DO_NOT_DISRUPT_ANNOTATION) == "true":
            return metadata.name
    return next((str(pod.metadata.key) for pod in pods if drain.protected(pod, now)), "")


def _moves(pod: Pod) -> bool:
    """Whether it will want another place: it runs, and comes not with every node."""
    owners = {owner.kind for owner in pod.metadata.owner_references}
    return not (
        owners & {"DaemonSet", "Node"}
        or drain.terminal(pod)
        or pod.metadata.deletion_timestamp is not None
    )


def _cost(pod: Pod) -> float:
    """Karpenter's: one, more or less by deletion cost and priority, between -10 and 10."""
    try:
        wish = float(pod.metadata.annotations.get(DELETION_COST_ANNOTATION, "0"))
    except ValueError:
        wish = 0.0
    return max(-10.0, min(10.0, 1.0 + wish / 2**27 + (pod.spec.priority or 0) / 2**25))


def _left(claim: NodeClaim, now: datetime) -> float:
    """Of its life, as a share; all of it where it does not expire."""
    whole = duration.parse(claim.spec.expire_after)
    created = claim.metadata.creation_timestamp
    if whole is None or created is None or not whole.total_seconds():
        return 1.0
    return max(0.0, min(1.0, 1.0 - (now - created) / whole))
