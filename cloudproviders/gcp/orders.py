"""A claim's order, round by round: what has become of it, and what to do next."""

from __future__ import annotations

from datetime import datetime

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import ladder
from cloudproviders.errors import InsufficientCapacityError
from cloudproviders.gcp import errors, nodepools
from cloudproviders.gcp.cluster import Cluster
from cloudproviders.gcp.errors import TTL_SECONDS, GoogleError, Kind, Verdict
from cloudproviders.gcp.nodeclass import Shape
from cloudproviders.gcp.offerings import Offerings
from cloudproviders.gcp.pool import Pool
from cloudproviders.gcp.refused import Refused
from cloudproviders.instancetype import Offering
from cloudproviders.provider import Pending
from cloudproviders.selection import Choice
from kube.clock import Clock

FIRST_LOOK_SECONDS = 20.0
"""After the order; later looks come at twice the pool's age, up to LAST_LOOK_SECONDS."""

LAST_LOOK_SECONDS = 60.0
TURN_SECONDS = 2.0
"""Between two questions of who waits for a turn; they seldom cost the cloud anything."""

GOING_SECONDS = 5.0
SUSPICIOUS_SECONDS = 60.0
"""After which a pool without a node is looked up in the operations too: a stock-out may be told
there first."""

FAILED = "ERROR"


class Orders:
    """Node pools, from the ladder's choice to a node or to the next rung."""

    def __init__(
        self,
        cluster: Cluster,
        offerings: Offerings,
        refused: Refused,
        clock: Clock,
        provisioning_timeout: float,
    ) -> None:
        self._cluster = cluster
        self._offerings = offerings
        self._refused = refused
        self._clock = clock
        self._timeout = provisioning_timeout
        self._given_up: dict[str, Verdict] = {}
        """Why pools are being deleted: what they show on their way out is of our own making."""

    async def place(self, claim: NodeClaim, shape: Shape, attempt: int = 1) -> Pending:
        """Order the first rung that is granted; the refusals are those of `create`."""
        if blamed := self._refused.blamed(claim):
            raise blamed
        self._given_up.pop(nodepools.name_of(claim, attempt), None)
        facts = await self._cluster.facts()
        types = await self._offerings.types(shape.zones or facts.locations, shape)

        async def rung(choice: Choice) -> Pending:
            order = nodepools.order(
                claim,
                choice,
                shape,
                now=self._clock.now(),
                upgraded=facts.released,
                reservation=self._offerings.reservation(choice, shape.reservations),
                attempt=attempt,
            )
            try:
                waits_for = await self._cluster.order(order)
            except GoogleError as failed:
                return self._refusal(failed, choice)
            if waits_for:
                return Pending(
                    message=f"node pool {order['name']} waits for its turn: {waits_for}",
                    look_again=TURN_SECONDS,
                    reason="Waiting",
                )
            return self._working(nodepools.ordered(order, facts.version))

        try:
            return await ladder.climb(claim, types, self._refused.offerings, rung)
        except InsufficientCapacityError:
            if quota := self._refused.quota(claim, types):
                raise quota from None
            raise

    async def look(self, claim: NodeClaim, pool: Pool) -> Pending | None:
        """What is to be said and done while the pool has no node; None where it is best left
        alone and another one ordered."""
        if pool.state == "STOPPING":
            return Pending(
                message=f"node pool {pool.name}: being deleted before the next try",
                look_again=GOING_SECONDS,
            )
        verdict = self._given_up.get(pool.name) or await self._failure(pool)
        if verdict is None:
            return self._working(pool)
        self._given_up[pool.name] = verdict
        self._remember(claim, pool, verdict)
        await self._cluster.end(pool)
        if self._cluster.stuck(pool):
            return None
        return Pending(
            message=f"node pool {pool.name} failed: {verdict.told}; deleting it before the next"
            " try",
            look_again=GOING_SECONDS,
            reason=verdict.reason,
        )

    async def vanished(self, claim: NodeClaim, pool: Pool) -> None:
        """An order that came to nothing, pool and all: what its operation says of it."""
        if verdict := await self._cluster.failure(pool.name):
            self._remember(claim, pool, verdict)

    def _remember(self, claim: NodeClaim, pool: Pool, verdict: Verdict) -> None:
        if verdict.kind in TTL_SECONDS and verdict.kind is not Kind.CONFIGURATION:
            offering = Offering(zone=pool.zone, capacity_type=pool.capacity_type)
            self._refused.remember(verdict, pool.machine_type, offering)
        else:
            self._refused.blame(claim, verdict)

    async def _failure(self, pool: Pool) -> Verdict | None:
        if verdict := errors.of_codes(pool.conditions):
            return verdict
        age = self._age(pool)
        suspicious = pool.state == FAILED or age >= SUSPICIOUS_SECONDS
        if suspicious and (verdict := await self._cluster.failure(pool.name)):
            return verdict
        if pool.state == FAILED:
            return errors.of_text(pool.message or "the node pool is in state ERROR")
        if age >= self._timeout:
            told = f"no node after {age:.0f} s, state {pool.state} {pool.message}".rstrip()
            return Verdict(kind=Kind.STOCK_OUT, code="PROVISIONING_TIMEOUT", told=told)
        return None

    def _refusal(self, failed: GoogleError, choice: Choice) -> Pending:
        """Of an order that Google did not take."""
        if failed.kind is Kind.TRANSIENT:
            raise errors.unavailable(failed) from failed
        if failed.kind is Kind.EXISTS:
            return Pending(message="the order was taken before", look_again=1.0)
        verdict = errors.of_call(failed)
        if verdict.kind in {Kind.CONFIGURATION, Kind.NOT_FOUND}:
            raise errors.create_error(verdict) from failed
        raise self._refused.refusal(verdict, choice.instance_type.name, choice.offering)

    def _working(self, pool: Pool) -> Pending:
        age = self._age(pool)
        what = f"{pool.machine_type} ({pool.capacity_type} in {pool.zone})"
        return Pending(
            message=f"node pool {pool.name}: {pool.state}, {age:.0f} s, {what}",
            look_again=min(max(age, FIRST_LOOK_SECONDS), LAST_LOOK_SECONDS),
        )

    def _age(self, pool: Pool) -> float:
        created: datetime | None = pool.created
        return max(0.0, (self._clock.now() - created).total_seconds()) if created else 0.0
