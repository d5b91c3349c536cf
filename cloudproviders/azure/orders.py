"""From a claim to its pool: adopt, order rung by rung, watch, and clear away what has failed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import ladder, selection
from cloudproviders.azure import agentpools, errors, poolbody
from cloudproviders.azure.agentpools import AgentPool
from cloudproviders.azure.cluster import Cluster
from cloudproviders.azure.errors import ExistsError, QuotaRefusedError
from cloudproviders.azure.nodeclass import PoolClass
from cloudproviders.azure.pools import NEVER
from cloudproviders.azure.settings import AzureSettings
from cloudproviders.azure.sizes import Sizes
from cloudproviders.errors import (
    CloudError,
    CreateError,
    InsufficientCapacityError,
    OfferingRefusedError,
)
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.provider import Pending
from cloudproviders.selection import Choice
from cloudproviders.unavailable import UnavailableOfferings
from kube.clock import Clock

RETRY_SECONDS = 120.0
"""After a pool has failed for a reason that trying again does not cure."""

logger = logging.getLogger(__name__)


class Orders:
    """Remembers what Azure has refused, for all claims, and what pools have failed of."""

    def __init__(
        self, cluster: Cluster, sizes: Sizes, settings: AzureSettings, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._sizes = sizes
        self._settings = settings
        self._clock = clock
        self.unavailable = UnavailableOfferings(clock)
        self._quotas = UnavailableOfferings(clock)
        """Of what is unavailable that which a quota stands against."""
        self._failed: dict[str, tuple[float, CreateError]] = {}
        """By claim uid: until when nobody tries again, and why."""
        self._setbacks: dict[str, str] = {}
        """By claim uid: what its last pool has failed of."""

    async def known(self, claim: NodeClaim) -> AgentPool | None:
        """The claim's pool, if it has been ordered. CreateError where somebody has its name."""
        name = agentpools.pool_name(claim.metadata)
        pool = await self._cluster.pool(name)
        if pool is None or agentpools.belongs(pool, claim.metadata):
            return pool
        if pool.claim_name == claim.metadata.name:
            raise CreateError(
                "NameInUse",
                f"agent pool {name} is still that of an earlier NodeClaim {pool.claim_name}"
                f" (uid {pool.claim_uid}); it is deleted as garbage",
            )
        raise CreateError(
            "NameInUse",
            f"agent pool {name} was not made for NodeClaim {claim.metadata.name}: rename it, or"
            " delete it if nobody needs it",
        )

    async def place(self, claim: NodeClaim, made_with: PoolClass) -> AgentPool:
        """The pool of the first rung that Azure grants."""
        self._check_failed_before(claim)
        await self._cluster.check_room(self._settings.max_pools)
        types = self._sizes.for_claim(claim)
        try:
            pool = await ladder.climb(
                claim,
                types,
                self.unavailable,
                lambda choice: self._order(claim, choice, made_with),
            )
        except InsufficientCapacityError as none_left:
            raise self._by_quota(claim, types) or none_left from none_left
        except ExistsError:
            adopted = await self.known(claim)  # another process of ours was faster
            if adopted is None:
                raise
            return adopted
        logger.info(
            "agent pool %s ordered: %s, %s",
            pool.name,
            pool.size,
            pool.capacity_type,
            extra={"nodeclaim": claim.metadata.name, "agentpool": pool.name},
        )
        return pool

    async def progress(self, pool: AgentPool, claim: NodeClaim) -> Pending:
        """How far AKS has come with it; what has failed is cleared away."""
        if pool.state == agentpools.FAILED:
            return await self._clear_failed(pool, claim)
        if pool.state == agentpools.CANCELED:
            await self._cluster.end(pool)
        return self.pending(pool)

    def pending(self, pool: AgentPool) -> Pending:
        """The wording stays the same from look to look, so that it need not be written again."""
        where = f" in zone {pool.zone}" if pool.zone else ""
        since = agentpools.created(pool)
        told = f"agent pool {pool.name} ({pool.size}, {pool.capacity_type}{where}): {pool.state}"
        if since:
            when = "since" if pool.state == agentpools.CREATING else "after its order at"
            told += f" {when} {since:%H:%M:%S} UTC"
        if pool.state == agentpools.SUCCEEDED:
            told += "; its machine has not joined the cluster yet"
        if setback := self._setbacks.get(pool.claim_uid):
            told += f"; before that: {setback}"
        return Pending(message=told, look_again=self._cluster.watched(pool))

    def forget(self, claim: NodeClaim) -> None:
        """It has its machine, or is gone."""
        self._failed.pop(claim.metadata.uid, None)
        self._setbacks.pop(claim.metadata.uid, None)

    async def _order(self, claim: NodeClaim, choice: Choice, made_with: PoolClass) -> AgentPool:
        name = agentpools.pool_name(claim.metadata)
        body = poolbody.body(claim, choice, made_with, self._settings, self._clock.now())
        try:
            return await self._cluster.order(name, body, choice)
        except OfferingRefusedError as refused:
            self._setbacks[claim.metadata.uid] = errors.cut(refused.message)
            if isinstance(refused, QuotaRefusedError):
                self._quotas.mark(refused.scope, refused.message, ttl=refused.ttl)
            raise

    def _by_quota(self, claim: NodeClaim, types: Sequence[InstanceType]) -> CreateError | None:
        """A quota stands against all that the claim could have: no other claim of its shape
        does better, so this one stays, and says so."""
        reasons = {
            self._quotas.why(choice.instance_type.name, choice.offering)
            for choice in selection.compatible(claim, types)
        }
        if not reasons or "" in reasons:
            return None
        return CreateError("QuotaExceeded", "; ".join(sorted(reasons)))

    def _check_failed_before(self, claim: NodeClaim) -> None:
        until, failure = self._failed.get(claim.metadata.uid, (NEVER, None))
        if failure is not None and self._clock.monotonic() < until:
            raise failure
        self._failed.pop(claim.metadata.uid, None)

    async def _clear_failed(self, pool: AgentPool, claim: NodeClaim) -> Pending:
        """Remember why, and delete it: a Failed pool may hold a machine that is paid for."""
        verdict = self._verdict(pool)
        if isinstance(verdict, OfferingRefusedError):
            self.unavailable.mark(verdict.scope, verdict.message, ttl=verdict.ttl)
        if isinstance(verdict, QuotaRefusedError):
            self._quotas.mark(verdict.scope, verdict.message, ttl=verdict.ttl)
        if isinstance(verdict, CreateError):
            until = self._clock.monotonic() + RETRY_SECONDS
            self._failed[claim.metadata.uid] = (until, verdict)
        await self._cluster.end(pool)
        told = self._setbacks[claim.metadata.uid] = errors.cut(str(pool.failure))
        return Pending(
            message=f"agent pool {pool.name} failed: {told}; deleting it before the next try",
            look_again=self._cluster.watched(pool.become(agentpools.DELETING)),
        )

    def _verdict(self, pool: AgentPool) -> CloudError:
        size = self._sizes.get(pool.size) or InstanceType(name=pool.size)
        zone = f"{self._settings.location}-{pool.zone}" if pool.zone else ""
        offering = Offering(zone=zone, capacity_type=pool.capacity_type)
        return errors.translate(pool.failure, size, offering)
