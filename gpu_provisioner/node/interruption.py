"""A machine that the cloud takes back: no new pods, as much of a drain as there is time for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.provider import CloudProvider, Interruption
from gpu_provisioner import deadline, events, metrics
from gpu_provisioner.disruption import Disruption
from gpu_provisioner.indexes import CLAIM_PROVIDER_ID, NODE_PROVIDER_ID
from gpu_provisioner.managed import Managed
from gpu_provisioner.shared import Shared, Stores
from kube.clock import Clock
from kube.controller import Result
from kube.meta import Key
from kube.objects import NODES, Node

logger = logging.getLogger(__name__)

EVENTS: Mapping[str, str] = {
    "spot_interrupted": events.SPOT_INTERRUPTED,
    "rebalance_recommendation": events.SPOT_REBALANCE_RECOMMENDATION,
    "scheduled_change": events.INSTANCE_UNHEALTHY,
    "instance_stopped": events.INSTANCE_STOPPING,
    "instance_terminated": events.INSTANCE_TERMINATING,
    "capacity_reservation_interrupted": events.CAPACITY_RESERVATION_INTERRUPTED,
    "instance_status": events.INSTANCE_UNHEALTHY,
    "system_status": events.INSTANCE_UNHEALTHY,
    "event_status": events.INSTANCE_UNHEALTHY,
}
"""Karpenter's reason of the event for each of its kinds; of another only the end is told."""

STATUS_CHECKS = frozenset({"instance_status", "system_status", "event_status"})


@dataclass(frozen=True, slots=True)
class Notices:
    """What the cloud has said of which claim, until that is done. One of a kind: the same said
    again takes the place of the former."""

    cloud: CloudProvider
    managed: Managed
    stores: Stores
    clock: Clock
    _standing: dict[Key, dict[str, Interruption]] = field(default_factory=dict)

    def take(self, notice: Interruption) -> list[Key]:
        """The claims that the notice concerns; none where the machine is not ours."""
        for key in [key for key in self._standing if key not in self.stores.claims]:
            del self._standing[key]
        found = [
            claim
            for claim in self.stores.claims.by_index(CLAIM_PROVIDER_ID, notice.provider_id)
            if self.managed.claim(claim)
        ]
        for claim in found:
            self._standing.setdefault(claim.metadata.key, {})[notice.kind] = notice
        return [claim.metadata.key for claim in found]

    def of(self, claim: NodeClaim) -> list[Interruption]:
        """Those that came for the claim, and those that stand on its nodes."""
        came = self._standing.get(claim.metadata.key, {}).values()
        return [*came, *self._on_nodes(claim)]

    def done(self, claim: NodeClaim, notice: Interruption) -> None:
        """A newer one of the kind that has come meanwhile stays."""
        standing = self._standing.get(claim.metadata.key, {})
        if standing.get(notice.kind) is notice:
            del standing[notice.kind]
        if not standing:
            self._standing.pop(claim.metadata.key, None)

    def claims_of(self, node: Node) -> Iterable[Key]:
        """Whom a change of the Node concerns."""
        if self.cloud.interrupted(node, self.clock.now()) is None:
            return ()
        return self.stores.claims_of(node)

    def _on_nodes(self, claim: NodeClaim) -> Iterable[Interruption]:
        for node in self.stores.nodes.by_index(NODE_PROVIDER_ID, claim.status.provider_id):
            if (notice := self.cloud.interrupted(node, self.clock.now())) is not None:
                yield notice


class InterruptionHandling:
    """Of a claim, all that is said of it. Every write may be repeated: a notice is acknowledged
    once all of them have succeeded, and comes again if that is lost."""

    def __init__(self, shared: Shared, stores: Stores, notices: Notices) -> None:
        self._nodes = shared.nodes
        self._stores = stores
        self._notices = notices
        self._disruption = Disruption(shared, stores)
        self._recorder = shared.recorder
        self._clock = shared.clock
        self._advised: dict[str, tuple[str, frozenset[str]]] = {}

    async def reconcile(self, claim: NodeClaim, /) -> Result:
        for notice in self._notices.of(claim):
            if notice.advisory:
                self._advise(claim, notice)
            else:
                await self._end(claim, notice)
            await acknowledge(notice, self._clock.now())
            self._notices.done(claim, notice)
        return Result()

    def _advise(self, claim: NodeClaim, notice: Interruption) -> None:
        """Said once of each kind, not as often as its Node changes."""
        uid, kinds = self._advised.get(claim.metadata.name, ("", frozenset()))
        said = kinds if uid == claim.metadata.uid else frozenset()
        if notice.kind in said:
            return
        self._advised[claim.metadata.name] = (claim.metadata.uid, said | {notice.kind})
        self._tell(claim, notice, events.NORMAL)

    async def _end(self, claim: NodeClaim, notice: Interruption) -> None:
        for node in self._nodes_of(claim):
            await self._nodes.disrupt(node)
        if not await self._disruption.end(claim, notice.kind, by=notice.deadline):
            return
        if notice.kind in STATUS_CHECKS:
            metrics.INSTANCE_STATUS_UNHEALTHY.labels(notice.kind).inc()
        logger.warning(
            "claim %s: %s: %s",
            claim.metadata.name,
            notice.kind,
            notice.message,
            extra={"nodeclaim": claim.metadata.name, "provider_id": notice.provider_id},
        )
        self._tell(claim, notice, events.WARNING)
        message = f"Draining and deleting, since the cloud takes the machine back ({notice.kind})"
        if notice.deadline is not None:
            message += f"; all pods will be deleted by {deadline.stamp(notice.deadline)}"
        self._event(claim, events.WARNING, events.TERMINATING_ON_INTERRUPTION, message)

    def _nodes_of(self, claim: NodeClaim) -> list[Node]:
        return self._stores.nodes.by_index(NODE_PROVIDER_ID, claim.status.provider_id)

    def _tell(self, claim: NodeClaim, notice: Interruption, type_: str) -> None:
        if (reason := EVENTS.get(notice.kind)) is not None:
            self._event(claim, type_, reason, notice.message)

    def _event(self, claim: NodeClaim, type_: str, reason: str, message: str) -> None:
        self._recorder.event(NODE_CLAIMS, claim.metadata, type_, reason, message)
        for node in self._nodes_of(claim):
            self._recorder.event(NODES, node.metadata, type_, reason, message)


async def acknowledge(notice: Interruption, now: datetime) -> None:
    """The cloud need not say it again."""
    if notice.acknowledge is None:
        return
    await notice.acknowledge()
    metrics.INTERRUPTIONS_DELETED.inc()
    if notice.sent is not None:
        metrics.INTERRUPTION_SECONDS.observe((now - notice.sent).total_seconds())
