"""What a pool says of itself: its hash, whether it is Ready, and what it has."""

from __future__ import annotations

from collections.abc import Sequence

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from gpu_provisioner import metrics
from gpu_provisioner.indexes import POOL
from gpu_provisioner.nodepool import counter
from gpu_provisioner.nodepool.hash import stamp
from gpu_provisioner.nodepool.pools import Pools
from gpu_provisioner.nodepool.readiness import node_class_ready
from gpu_provisioner.nodepool.validation import valid
from gpu_provisioner.shared import Shared, Stores
from kube import quantity
from kube.controller import Result


class PoolStatus:
    """One round: stamp the pool and its claims, look at everything, one write of the status."""

    def __init__(self, shared: Shared, stores: Stores) -> None:
        self._pools = Pools(shared.client)
        self._claims = shared.claims
        self._stores = stores
        self._clock = shared.clock

    async def reconcile(self, pool: NodePool, /) -> Result:
        if pool.deleting:
            return Result()
        claims = self._stores.claims.by_index(POOL, pool.metadata.name)
        taken = stamp(pool)
        pool = await self._pools.annotate(pool, taken.annotations)
        for claim in claims:
            if not claim.deleting:
                await self._claims.save(claim, taken.renewed(claim))
        await self._pools.save(pool, self._told(pool, claims))
        return Result()

    def _told(self, pool: NodePool, claims: Sequence[NodeClaim]) -> NodePool:
        told = pool.judged(
            valid(pool).of(c.VALIDATION_SUCCEEDED),
            node_class_ready(pool, self._stores.node_classes).of(c.NODE_CLASS_READY),
            now=self._clock.now(),
        )
        resources = counter.resources(claims, self._stores.nodes)
        _measure(pool, resources)
        counted = {"nodes": len(counter.bought(claims)), "resources": resources}
        return told.model_copy(update={"status": told.status.model_copy(update=counted)})


def _measure(pool: NodePool, resources: dict[str, str]) -> None:
    name = pool.metadata.name
    for gauge, amounts in (
        (metrics.POOL_LIMIT, pool.spec.limits),
        (metrics.POOL_USAGE, resources),
    ):
        for resource, amount in amounts.items():
            gauge.labels(name, resource).set(float(quantity.parse(amount)))


def forget(old: NodePool | None, new: NodePool | None) -> None:
    """Subscriber to pools: what is measured of one ends with it."""
    if old is not None and new is None:
        for gauge in (
            metrics.POOL_LIMIT,
            metrics.POOL_USAGE,
            metrics.POOL_ALLOWED_DISRUPTIONS,
        ):
            gauge.remove_by_labels({"nodepool": old.metadata.name})
