"""Replaces nodes that have been sick for too long; never too many of a pool at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from apis.karpenter.v1 import conditions
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.provider import RepairPolicy
from cloudproviders.repair import GPU_FAULTS
from gpu_provisioner import events, metrics
from gpu_provisioner.disruption import Disruption
from gpu_provisioner.indexes import CLAIM_PROVIDER_ID, POOL
from gpu_provisioner.node.ailments import GPU_CAPACITY, Ailment, missing_devices, of_conditions
from gpu_provisioner.shared import Shared, Stores
from kube.controller import Result
from kube.objects import NODES, Node

logger = logging.getLogger(__name__)

BRAKE_PERCENT = 20
"""More of a pool's nodes than this, rounded up, and it is no node's own illness."""

SAY_AGAIN = timedelta(minutes=15)
"""How long NodeRepairBlocked of a node is not repeated."""


class NodeHealth:
    """Devices that are missing carry no date: they are missing since we first saw it, which a
    restart can only make later. That, and what was told, is all that is remembered."""

    def __init__(self, shared: Shared, stores: Stores) -> None:
        self._policies = policies(shared.cloud.repair_policies)
        self._stores = stores
        self._disruption = Disruption(shared, stores)
        self._recorder = shared.recorder
        self._timings = shared.timings
        self._clock = shared.clock
        self._missing_since: dict[str, datetime] = {}
        self._told: dict[str, datetime] = {}

    async def reconcile(self, node: Node, /) -> Result:
        claim = self._claim_of(node)
        if claim is None or claim.deleting:
            return Result()
        ailment = min(self._ailments(node, claim), key=_deadline, default=None)
        if ailment is None:
            return Result()
        left = (ailment.deadline - self._clock.now()).total_seconds()
        if left > 0:
            return Result(left)
        if blocked := self._blocked(claim):
            self._tell_blocked(node, claim, ailment, blocked)
            return Result(self._timings.repair_blocked)
        await self._replace(node, claim, ailment)
        return Result()

    def _claim_of(self, node: Node) -> NodeClaim | None:
        """By provider id; where several have it, none of them is believed."""
        found = self._stores.claims.by_index(CLAIM_PROVIDER_ID, node.spec.provider_id)
        return found[0] if len(found) == 1 else None

    def _ailments(self, node: Node, claim: NodeClaim) -> list[Ailment]:
        found = list(of_conditions(node, self._policies))
        uid = node.metadata.uid
        examined = self._policies and claim.is_true(conditions.INITIALIZED)
        message = missing_devices(node, claim) if examined else ""
        if not message:
            self._missing_since.pop(uid, None)
            return found
        since = self._note(self._missing_since, node)
        deadline = since + timedelta(seconds=self._timings.gpu_toleration)
        return [*found, Ailment(GPU_CAPACITY, "False", since, deadline, message)]

    def _blocked(self, claim: NodeClaim) -> str:
        """Why nothing is done, or "". A claim without a pool stands among all of the cluster."""
        pool = metrics.nodepool(claim.metadata)
        nodes = self._stores.nodes
        among = nodes.by_index(POOL, pool) if pool else nodes.list()
        sick = sum(self._sick(node) for node in among)
        if sick <= allowed(len(among)):
            return ""
        where = f"of node pool {pool}" if pool else "of the cluster"
        return f"{sick} of the {len(among)} nodes {where} are unhealthy, over {BRAKE_PERCENT} %"

    def _sick(self, node: Node) -> bool:
        """Now, however briefly: the brake is to be pulled before many are over their time."""
        if node.metadata.uid in self._missing_since:
            return True
        return any(True for _ in of_conditions(node, self._policies))

    def _tell_blocked(self, node: Node, claim: NodeClaim, ailment: Ailment, blocked: str) -> None:
        told = self._told.get(node.metadata.uid)
        if told is not None and self._clock.now() - told < SAY_AGAIN:
            return
        self._told.pop(node.metadata.uid, None)
        self._note(self._told, node)
        message = f"not replaced, although {ailment}: {blocked}"
        for resource, about in ((NODES, node), (NODE_CLAIMS, claim)):
            self._recorder.event(
                resource, about.metadata, events.WARNING, events.NODE_REPAIR_BLOCKED, message
            )

    async def _replace(self, node: Node, claim: NodeClaim, ailment: Ailment) -> None:
        """At once: budgets and wishes of pods count for nothing on a node that does not work."""
        if not await self._disruption.end(claim, "unhealthy", by=self._clock.now()):
            return
        message = f"node {node.metadata.name} has {ailment}; deleting it with its instance, at once"
        logger.warning(
            "claim %s: %s",
            claim.metadata.name,
            message,
            extra={"nodeclaim": claim.metadata.name, "node": node.metadata.name},
        )
        self._recorder.event(
            NODE_CLAIMS, claim.metadata, events.WARNING, events.NODE_UNHEALTHY, message
        )
        metrics.CLAIMS_UNHEALTHY_DISRUPTED.labels(
            metrics.snake_case(ailment.kind),
            metrics.nodepool(claim.metadata),
            metrics.capacity_type(claim.metadata),
            claim.status.image_id,
        ).inc()

    def _note(self, notes: dict[str, datetime], node: Node) -> datetime:
        """Since when that is noted of the node; notes of nodes that are gone go too."""
        if (uid := node.metadata.uid) not in notes:
            there = {each.metadata.uid for each in self._stores.nodes.list()}
            for gone in notes.keys() - there:
                del notes[gone]
            notes[uid] = self._clock.now()
        return notes[uid]


def policies(clouds: Sequence[RepairPolicy]) -> tuple[RepairPolicy, ...]:
    """A cloud's own, and those for GPUs that it says nothing of; none where it wants no repair."""
    if not clouds:
        return ()
    named = {(policy.condition_type, policy.condition_status) for policy in clouds}
    return (
        *clouds,
        *(
            policy
            for policy in GPU_FAULTS
            if (policy.condition_type, policy.condition_status) not in named
        ),
    )


def allowed(nodes: int) -> int:
    """How many of them may be sick: one of three, since a share is rounded up."""
    return -(-nodes * BRAKE_PERCENT // 100)


def _deadline(ailment: Ailment) -> datetime:
    return ailment.deadline
