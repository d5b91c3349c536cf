"""Initialized: the Node can take work, or the first thing that it lacks for it."""

from __future__ import annotations

from typing import NamedTuple

from apis.karpenter.v1 import conditions, labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import selection
from gpu_provisioner.nodeclaim.registration import matching
from gpu_provisioner.nodeclaim.step import Progress, affirmed
from gpu_provisioner.nodes import Nodes
from kube import quantity
from kube.clock import Clock
from kube.objects import Node, Taint
from kube.store import Store

EPHEMERAL_TAINTS = (
    Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule"),
    Taint(key="node.kubernetes.io/not-ready", effect="NoExecute"),
    Taint(key="node.kubernetes.io/unreachable", effect="NoSchedule"),
    Taint(key="node.cloudprovider.kubernetes.io/uninitialized", effect="NoSchedule", value="true"),
    Taint(key=labels.UNREGISTERED_TAINT, effect="NoExecute"),
)
"""Taints that Kubernetes puts on new nodes and takes off again."""

EPHEMERAL_TAINT_PREFIX = "readiness.k8s.io/"


class Reason(NamedTuple):
    """Of a condition."""

    reason: str
    message: str


class Initialization:
    """Has no time limit, as in Karpenter: a node that joined late is better than none."""

    def __init__(self, writes: Nodes, nodes: Store[Node], clock: Clock) -> None:
        self._writes = writes
        self._nodes = nodes
        self._clock = clock

    async def __call__(self, claim: NodeClaim, /) -> Progress:
        now = self._clock.now()
        kind = conditions.INITIALIZED
        if claim.condition(kind).status != "Unknown" or not claim.is_true(conditions.REGISTERED):
            return Progress(affirmed(claim, kind, now))
        found = matching(claim, self._nodes)
        if len(found) != 1:
            lacking: Reason | None = Reason(
                conditions.NODE_NOT_FOUND, conditions.NODE_NOT_FOUND_MESSAGE
            )
        else:
            lacking = not_initialized(found[0], claim)
        if lacking is not None:
            return Progress(claim.with_condition(kind, "Unknown", *lacking, now=now))
        await self._label(found[0])
        return Progress(claim.with_condition(kind, "True", now=now))

    async def _label(self, node: Node) -> None:
        if node.metadata.labels.get(labels.INITIALIZED_LABEL) == "true":
            return
        await self._writes.patch(node, {"metadata": {"labels": {labels.INITIALIZED_LABEL: "true"}}})


def not_initialized(node: Node, claim: NodeClaim) -> Reason | None:
    """Why the node cannot take work yet, or None."""
    if not node.ready:
        return Reason(conditions.NODE_NOT_READY, conditions.NODE_NOT_READY_MESSAGE)
    if taint := _first_startup_taint(node, claim):
        return Reason(conditions.STARTUP_TAINTS_EXIST, f'StartupTaint "{taint}" still exists')
    if taint := _first_ephemeral_taint(node):
        return Reason(
            conditions.KNOWN_EPHEMERAL_TAINTS_EXIST, f'KnownEphemeralTaint "{taint}" still exists'
        )
    if resource := _first_unregistered_resource(node, claim):
        return Reason(
            conditions.RESOURCE_NOT_REGISTERED,
            f'Resource "{resource}" was requested but not registered',
        )
    return None


def _first_startup_taint(node: Node, claim: NodeClaim) -> Taint | None:
    return next(
        (
            taint
            for taint in node.spec.taints
            if any(startup.matches(taint) for startup in claim.spec.startup_taints)
        ),
        None,
    )


def _first_ephemeral_taint(node: Node) -> Taint | None:
    return next(
        (
            taint
            for taint in node.spec.taints
            if taint.key.startswith(EPHEMERAL_TAINT_PREFIX)
            or any(
                taint.matches(known) and taint.value == known.value for known in EPHEMERAL_TAINTS
            )
        ),
        None,
    )


def _first_unregistered_resource(node: Node, claim: NodeClaim) -> str | None:
    """Of those asked for in an amount above zero; the disk is not a resource of nodes."""
    return next(
        (
            name
            for name, amount in sorted(selection.requests(claim).items())
            if quantity.parse(amount) > 0
            and quantity.parse(node.status.allocatable.get(name, "0")) <= 0
        ),
        None,
    )
