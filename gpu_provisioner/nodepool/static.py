"""Static pools: as many claims as `spec.replicas` says, replaced one for one as they drift."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.labels import NODEPOOL_LABEL
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from gpu_provisioner import bounded, events, metrics
from gpu_provisioner.indexes import NODE_NAME, POOL
from gpu_provisioner.nodepool import budgets, order, template
from gpu_provisioner.nodepool.plan import Plan, Seen, plan
from gpu_provisioner.nodepool.pools import Pools
from gpu_provisioner.nodepool.said import Said
from gpu_provisioner.nodepool.setbacks import Setbacks
from gpu_provisioner.shared import Shared, Stores
from kube import origin, tracing
from kube.controller import Result
from kube.errors import AlreadyExistsError, ForbiddenError, InvalidError
from kube.objects import Node, Pod

logger = logging.getLogger(__name__)

DYNAMIC = Said(
    "False",
    c.NOT_STATIC,
    "this provisioner makes nodes only for NodePools with spec.replicas, and for NodeClaims",
)

WHY = {
    "scaled_down": "the NodePool has more nodes than spec.replicas",
    "drifted": "it has drifted, and its successor can take work",
}
"""By the metric's reason."""


class StaticPools:
    """Decides from the cache whether anything is to be done, and from the API server what: a
    cache that is behind would make too many, or delete too many."""

    def __init__(self, shared: Shared, stores: Stores, setbacks: Setbacks) -> None:
        self._client = shared.client
        self._pools = Pools(shared.client)
        self._claims = shared.claims
        self._recorder = shared.recorder
        self._timings = shared.timings
        self._clock = shared.clock
        self._stores = stores
        self._setbacks = setbacks

    async def reconcile(self, pool: NodePool, /) -> Result:
        if pool.deleting:
            return Result()  # the claims go with it: the garbage collector follows their owner
        if pool.spec.replicas is None:
            await self._tell(pool, DYNAMIC)
            return Result()
        decided = plan(self._seen(pool, self._cached(pool)))
        if decided.acts:
            current = await self._pools.current(pool.metadata.name)
            if current is None or current.deleting or current.metadata.uid != pool.metadata.uid:
                return Result()
            pool = current
            decided = plan(self._seen(pool, await self._live(pool)))
            await self._act(pool, decided)
        if decided.said is not None:
            await self._tell(pool, decided.said)
        if decided.blocked:
            self._event(pool, events.DISRUPTION_BLOCKED, decided.blocked)
        return Result(self._look_again(pool, decided))

    async def _act(self, pool: NodePool, decided: Plan) -> None:
        await bounded.each(decided.unmark, self._unmark)
        try:
            await bounded.each(decided.create, lambda name: self._create(pool, name))
        except* (InvalidError, ForbiddenError) as refused:
            why = str(refused.exceptions[0])
            await self._tell(pool, Said("False", c.CREATE_REFUSED, why))
            raise
        await bounded.each(decided.surplus, lambda claim: self._delete(claim, "scaled_down"))
        await bounded.each(decided.replaced, lambda claim: self._delete(claim, "drifted"))
        await bounded.each(decided.mark, self._mark)

    async def _create(self, pool: NodePool, name: str) -> None:
        with suppress(AlreadyExistsError):  # made by somebody who wanted the same
            parent = tracing.trace_parent(pool.metadata)
            await self._client.create(origin.stamped(template.claim(pool, name), parent))
            logger.info("created claim %s of pool %s", name, pool.metadata.name)

    async def _delete(self, claim: NodeClaim, reason: str) -> None:
        self._setbacks.ending(claim)
        why = WHY[reason]
        logger.info("deleting claim %s: %s", claim.metadata.name, why)
        self._recorder.event(
            NODE_CLAIMS, claim.metadata, events.NORMAL, events.DISRUPTION_TERMINATING, why
        )
        await self._claims.delete(claim)
        metrics.CLAIMS_DISRUPTED.labels(
            reason,
            metrics.nodepool(claim.metadata),
            metrics.capacity_type(claim.metadata),
            "",
            "graceful",
        ).inc()

    async def _mark(self, claim: NodeClaim) -> None:
        marked = claim.with_condition(
            c.DISRUPTION_REASON, "True", budgets.DRIFTED, now=self._clock.now()
        )
        await self._claims.save(claim, marked)
        message = f"a successor is made: {claim.condition(c.DRIFTED).message}"
        self._recorder.event(
            NODE_CLAIMS, claim.metadata, events.NORMAL, events.DISRUPTION_LAUNCHING, message
        )

    async def _unmark(self, claim: NodeClaim) -> None:
        await self._claims.save(claim, claim.without_condition(c.DISRUPTION_REASON))

    async def _live(self, pool: NodePool) -> list[NodeClaim]:
        listing = await self._client.list(
            NODE_CLAIMS, labels=f"{NODEPOOL_LABEL}={pool.metadata.name}"
        )
        return [claim for claim in listing.items if template.owned(pool, claim)]

    def _cached(self, pool: NodePool) -> list[NodeClaim]:
        found = self._stores.claims.by_index(POOL, pool.metadata.name)
        return [claim for claim in found if template.owned(pool, claim)]

    def _seen(self, pool: NodePool, claims: Sequence[NodeClaim]) -> Seen:
        now = self._clock.now()
        return Seen(
            pool=pool,
            claims=claims,
            rank=lambda claim: order.rank(claim, self._nodes(claim), self._pods(claim), now),
            budget=self._budget(pool, claims),
            spared=self._spared,
            setback=self._setbacks.of(pool),
        )

    def _budget(self, pool: NodePool, claims: Sequence[NodeClaim]) -> int:
        """What the budgets allow, less the nodes that are disrupted already or not Ready."""
        working = [claim for claim in claims if claim.is_true(c.INITIALIZED)]
        disrupted = sum(
            claim.deleting
            or claim.is_true(c.DISRUPTION_REASON)
            or not any(node.ready for node in self._nodes(claim))
            for claim in working
        )
        left = budgets.allowed(
            pool.spec.disruption.budgets, budgets.DRIFTED, len(working), self._clock.now()
        )
        left = max(0, left - disrupted)
        metrics.POOL_ALLOWED_DISRUPTIONS.labels(pool.metadata.name, budgets.DRIFTED).set(left)
        return left

    def _spared(self, claim: NodeClaim) -> str:
        """A termination grace period bounds the drain, and with it what anybody may ask for."""
        if claim.spec.termination_grace_period is not None:
            return ""
        return order.protected(claim, self._nodes(claim), self._pods(claim), self._clock.now())

    def _nodes(self, claim: NodeClaim) -> list[Node]:
        keys = self._stores.nodes_of(claim)
        return [node for key in keys if (node := self._stores.nodes.get(key.name)) is not None]

    def _pods(self, claim: NodeClaim) -> Iterable[Pod]:
        for node in self._nodes(claim):
            yield from self._stores.pods.by_index(NODE_NAME, node.metadata.name)

    async def _tell(self, pool: NodePool, said: Said) -> None:
        was = pool.condition(c.REPLICAS_PROVISIONED)
        told = pool.told(said.of(c.REPLICAS_PROVISIONED), now=self._clock.now())
        await self._pools.save(pool, told)
        if said.status != "True" and (was.reason, was.message) != (said.reason, said.message):
            self._event(pool, said.reason, said.message)

    def _event(self, pool: NodePool, reason: str, message: str) -> None:
        type_ = events.NORMAL if reason == c.NOT_STATIC else events.WARNING
        self._recorder.event(NODE_POOLS, pool.metadata, type_, reason, message)

    def _look_again(self, pool: NodePool, decided: Plan) -> float:
        if decided.said is not None and decided.said.reason == c.LIMIT_REACHED:
            return self._timings.static_pool_limited
        if (setback := self._setbacks.of(pool)) is not None:
            return max(0.0, (setback.until - self._clock.now()).total_seconds())
        return self._timings.static_pool
