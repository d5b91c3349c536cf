"""Gives claims up that did nothing wrong: too old, lost, sick, or taken back by the cloud."""

from __future__ import annotations

from datetime import datetime

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner import deadline, duration, metrics
from gpu_provisioner.indexes import NODE_NAME
from gpu_provisioner.node import drain
from gpu_provisioner.nodeclaim.lifecycle import count_disrupted
from gpu_provisioner.shared import Shared, Stores
from kube.objects import Pod


class Disruption:
    """Each claim is given up, and counted, once: the API server is asked, not the cache, since
    two controllers may come to the same end at the same time."""

    def __init__(self, shared: Shared, stores: Stores) -> None:
        self._claims = shared.claims
        self._stores = stores
        self._clock = shared.clock

    async def end(self, claim: NodeClaim, reason: str, *, by: datetime | None = None) -> bool:
        """Delete the claim, its node to be empty `by` then, or by an earlier moment that stands or
        that its terminationGracePeriod sets.

        `reason` is the metric's. False where the claim is gone or was ending already; then only
        its deadline may have come nearer. ConflictError where somebody writes at the same time.
        """
        current = await self._claims.current(claim.metadata.name)
        if current is None or current.metadata.uid != claim.metadata.uid:
            return False
        if by is not None:
            current = await self._hurry(current, by)
        if current.deleting:
            return False
        await self._claims.delete(current)
        self._count(current, reason)
        return True

    async def _hurry(self, claim: NodeClaim, by: datetime) -> NodeClaim:
        grace = duration.parse(claim.spec.termination_grace_period or "")
        if grace is not None and not claim.deleting:
            by = min(by, self._clock.now() + grace)
        standing = deadline.of(claim)
        if standing is not None and standing <= by.replace(microsecond=0):
            return claim
        return await self._claims.annotate(
            claim, labels.TERMINATION_TIMESTAMP_ANNOTATION, deadline.stamp(by)
        )

    def _count(self, claim: NodeClaim, reason: str) -> None:
        count_disrupted(claim, reason)
        now = self._clock.now()
        pods = sum(
            drain.drainable(pod, now) and not _daemon(pod)
            for node in self._stores.nodes_of(claim)
            for pod in self._stores.pods.by_index(NODE_NAME, node.name)
        )
        metrics.PODS_DISRUPTION_INITIATED.labels(
            reason,
            metrics.nodepool(claim.metadata),
            metrics.capacity_type(claim.metadata),
            "",
            "forceful",
        ).inc(pods)


def _daemon(pod: Pod) -> bool:
    """It goes with its node, and nobody misses it."""
    return any(owner.kind == "DaemonSet" for owner in pod.metadata.owner_references)
