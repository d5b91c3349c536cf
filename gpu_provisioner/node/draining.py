"""Drained: no pod is left on the node that has to leave it."""

from __future__ import annotations

from datetime import datetime

from apis.karpenter.v1 import conditions, labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner import deadline, events, metrics
from gpu_provisioner.indexes import NODE_NAME
from gpu_provisioner.node import drain, stage
from gpu_provisioner.node.eviction import Evictions
from gpu_provisioner.node.stage import Outcome
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodeclaim.step import since
from gpu_provisioner.settings import Timings
from kube.clock import Clock
from kube.objects import Node, Pod
from kube.store import Store


class Draining:
    """Asks those whose turn it is; the pods' own watch tells when they have gone."""

    def __init__(
        self,
        evictions: Evictions,
        claims: Claims,
        pods: Store[Pod],
        recorder: events.Events,
        timings: Timings,
        clock: Clock,
    ) -> None:
        self._evictions = evictions
        self._claims = claims
        self._pods = pods
        self._recorder = recorder
        self._timings = timings
        self._clock = clock

    async def __call__(self, node: Node, claim: NodeClaim | None, /) -> Outcome:
        now = self._clock.now()
        plan = drain.plan(
            self._pods.by_index(NODE_NAME, node.metadata.name), now, deadline.of(claim)
        )
        if not plan.waited_for:
            return await self._empty(node, claim)
        if claim is not None:
            draining = claim.with_condition(
                conditions.DRAINED, "Unknown", conditions.DRAINING, now=now
            )
            claim = await self._claims.tell(claim, draining)
        await self._carry_out(node, claim, plan)
        return Outcome(claim, self._patience(node, plan, now))

    async def _empty(self, node: Node, claim: NodeClaim | None) -> Outcome:
        """Not believed at once: a pod may have been bound just before the taint."""
        if claim is None or claim.is_true(conditions.DRAINED):
            return Outcome(claim)
        now = self._clock.now()
        draining = claim.with_condition(conditions.DRAINED, "Unknown", conditions.DRAINING, now=now)
        left = self._timings.min_drain - since(draining, conditions.DRAINED, now)
        if left > 0:
            return Outcome(await self._claims.tell(claim, draining), left)
        drained = claim.with_condition(conditions.DRAINED, "True", now=now)
        told = await self._claims.tell(claim, drained)
        metrics.NODES_DRAINED.labels(metrics.nodepool(node.metadata)).inc()
        return Outcome(told)

    async def _carry_out(self, node: Node, claim: NodeClaim | None, plan: drain.Drain) -> None:
        for forced in plan.force:
            await self._evictions.force(forced)
        refusals = [
            f"{pod.metadata.key}: {refusal}"
            for pod in plan.evict
            if (refusal := await self._evictions.evict(pod))
        ]
        refusals += [
            f"{pod.metadata.key}: has annotation {labels.DO_NOT_DISRUPT_ANNOTATION}"
            for pod in plan.protected
        ]
        if not refusals:
            return
        message = (
            f"Failed to drain node, {len(plan.waited_for)} pods are waiting to be evicted: "
            + "; ".join(sorted(refusals))
        )
        stage.tell(self._recorder, events.WARNING, events.FAILED_DRAINING, message, node, claim)

    def _patience(self, node: Node, plan: drain.Drain, now: datetime) -> float:
        """Ever longer, as the drain drags on; but nobody's deadline is slept through."""
        deleted = node.metadata.deletion_timestamp or now
        slow = (now - deleted).total_seconds() / 10
        wait = min(max(slow, self._timings.drain_poll), self._timings.drain_poll_cap)
        if plan.next_force is not None:
            until = (plan.next_force - now).total_seconds()
            wait = min(wait, max(until, 0.0) + 0.1)
        return wait
