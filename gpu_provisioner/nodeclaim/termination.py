"""The end of a claim: its nodes first, then its instance, then the claim itself."""

from __future__ import annotations

import logging

from apis.karpenter.v1 import labels
from apis.karpenter.v1.conditions import INSTANCE_TERMINATING, REGISTERED
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.provider import CloudProvider
from gpu_provisioner import deadline, duration, events, metrics
from gpu_provisioner.indexes import NODE_PROVIDER_ID
from gpu_provisioner.instances import Instances
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodeclaim.step import since
from gpu_provisioner.settings import Timings
from kube import tracing
from kube.client import Client
from kube.clock import Clock
from kube.controller import Result
from kube.objects import NODES, Node
from kube.store import Store

logger = logging.getLogger(__name__)


class NodeClaimTermination:
    """Repeated until the cloud says that nothing is left; nothing else takes the finalizer off."""

    def __init__(
        self,
        client: Client,
        claims: Claims,
        cloud: CloudProvider,
        nodes: Store[Node],
        recorder: events.Events,
        timings: Timings,
        clock: Clock,
    ) -> None:
        self._client = client
        self._claims = claims
        self._instances = Instances(cloud, claims, recorder, clock)
        self._nodes = nodes
        self._recorder = recorder
        self._timings = timings
        self._clock = clock

    async def reconcile(self, claim: NodeClaim, /) -> Result:
        if labels.TERMINATION_FINALIZER not in claim.metadata.finalizers:
            return Result()
        claim = await self._stamp_deadline(claim)
        if nodes := self._registered_nodes(claim):
            for node in nodes:
                if node.metadata.deletion_timestamp is None:
                    await self._client.delete(NODES, node.metadata.name, uid=node.metadata.uid)
            return Result()  # the nodes' end brings us back
        if await self._instances.end(claim) is not None:
            return Result(self._timings.instance_poll)
        await self._claims.remove_finalizer(claim)
        self._count(claim)
        logger.info("deleted nodeclaim", extra={"nodeclaim": claim.metadata.name})
        tracing.waited("nodeclaim.terminate", claim.metadata.deletion_timestamp, self._clock.now())
        return Result()

    async def _stamp_deadline(self, claim: NodeClaim) -> NodeClaim:
        """Written once: a later change of mind can only shorten it by hand."""
        deleted = claim.metadata.deletion_timestamp
        grace = duration.parse(claim.spec.termination_grace_period or "")
        if (
            deleted is None
            or grace is None
            or labels.TERMINATION_TIMESTAMP_ANNOTATION in claim.metadata.annotations
        ):
            return claim
        ends = deadline.stamp(deleted + grace)
        self._tell(claim, f"All pods will be deleted by {ends}")
        return await self._claims.annotate(claim, labels.TERMINATION_TIMESTAMP_ANNOTATION, ends)

    def _tell(self, claim: NodeClaim, message: str) -> None:
        reason = events.TERMINATION_GRACE_PERIOD_EXPIRING
        self._recorder.event(NODE_CLAIMS, claim.metadata, events.WARNING, reason, message)
        for node in self._registered_nodes(claim):
            self._recorder.event(NODES, node.metadata, events.WARNING, reason, message)

    def _registered_nodes(self, claim: NodeClaim) -> list[Node]:
        """Also those whose registration was stored on the Node only, before a crash. A Node that
        was never registered is not ours to delete."""
        if not claim.status.provider_id:
            return []
        return [
            node
            for node in self._nodes.by_index(NODE_PROVIDER_ID, claim.status.provider_id)
            if claim.is_true(REGISTERED) or labels.TERMINATION_FINALIZER in node.metadata.finalizers
        ]

    def _count(self, claim: NodeClaim) -> None:
        now, pool = self._clock.now(), metrics.nodepool(claim.metadata)
        metrics.CLAIMS_TERMINATED.labels(
            pool, metrics.capacity_type(claim.metadata), metrics.zone(claim.metadata)
        ).inc()
        if claim.is_true(INSTANCE_TERMINATING):
            metrics.INSTANCE_TERMINATION_SECONDS.labels(pool).observe(
                since(claim, INSTANCE_TERMINATING, now)
            )
        if (deleted := claim.metadata.deletion_timestamp) is not None:
            metrics.CLAIM_TERMINATION_SECONDS.labels(pool).observe((now - deleted).total_seconds())
