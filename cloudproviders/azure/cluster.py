"""One AKS cluster's agent pools: what there is, what is going on, and what we set going.

What is remembered here makes calls fewer; a new process does without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.azure import agentpools, errors, looks
from cloudproviders.azure.agentpools import AgentPool
from cloudproviders.azure.errors import ExistsError, QueuedError, RefusedError
from cloudproviders.azure.operations import Operations
from cloudproviders.azure.pools import NEVER, Pools, Snapshot
from cloudproviders.errors import CloudUnavailableError, CreateError
from cloudproviders.joined import joined
from cloudproviders.selection import Choice
from kube.client import Client
from kube.clock import Clock
from kube.meta import Manifest
from kube.objects import Node

STALE_SECONDS = 60.0
"""How old the list of pools may be when a claim first asks: a PUT overwrites nothing anyway."""
FRESH_SECONDS = 5.0
"""How old it may be for us to say that something is gone."""


class AgentPools(Protocol):
    """The part of ARM in use; refusals are RefusedError and BusyError."""

    async def list(self) -> Sequence[AgentPool]: ...
    async def put(self, name: str, body: Manifest, /) -> AgentPool: ...
    async def delete(self, name: str, etag: str = "", /) -> None: ...
    async def abort(self, name: str, /) -> None: ...
    async def machines(self, name: str, /) -> Sequence[str]: ...
    async def kubernetes_version(self) -> str: ...
    async def close(self) -> None: ...


class Cluster:
    """Reads are shared by all claims; operations go through one gate."""

    def __init__(self, api: AgentPools, client: Client, clock: Clock) -> None:
        self._api = api
        self._client = client
        self._clock = clock
        self._operations = Operations(clock)
        self._pools = Pools(api.list, clock, self._operations.seen)
        self._begun: dict[str, tuple[float, Sequence[float]]] = {}
        """Since when AKS works at a pool, and when after that we look."""
        self._ending: set[str] = set()
        """Pools that somebody is about to end: the claim's end and its Node's both want it."""

    async def pool(self, name: str) -> AgentPool | None:
        """As young as it needs to be: where AKS is at work, as of the last look that was due."""
        return (await self._pools.since(self._moment(name))).get(name)

    def seen(self, claim: NodeClaim) -> AgentPool | None:
        """The claim's pool as we know it without a look."""
        pool = self._pools.known.get(agentpools.pool_name(claim.metadata))
        return pool if pool is not None and agentpools.belongs(pool, claim.metadata) else None

    async def arrival(self, pool: AgentPool) -> Node | None:
        """The Node of its machine, once it has joined: then nothing need be watched any more."""
        if pool.state in agentpools.GOING or (node := await self.node(pool)) is None:
            return None
        self._begun.pop(pool.name, None)
        self._operations.joined(pool.name)
        return node

    async def pool_of(self, claim: NodeClaim) -> AgentPool | None:
        """The claim's; None once it is certain that there is none."""
        name = agentpools.pool_name(claim.metadata)
        moment = self._moment(name) if name in self._begun else NEVER
        for since in (moment, self._clock.monotonic() - FRESH_SECONDS):
            pool = (await self._pools.since(since)).get(name)
            if pool is not None and agentpools.belongs(pool, claim.metadata):
                return pool
        self._begun.pop(name, None)
        return None

    async def pools(self, age: float) -> Snapshot:
        """All there are, as they were at most `age` seconds ago."""
        return await self._pools.since(self._clock.monotonic() - age)

    def watched(self, pool: AgentPool) -> float:
        """AKS works at it, we look at it now and then; seconds until the next time."""
        going = pool.state in agentpools.GOING
        usual = looks.DELETE_LOOKS if going else looks.CREATE_LOOKS
        begun, when = self._begun.setdefault(pool.name, (self._clock.monotonic(), usual))
        age = self._clock.monotonic() - begun
        return looks.next_due(age, when) - age

    async def check_room(self, most: int) -> None:
        """CreateError where the cluster has as many pools as it may have."""
        if len(await self.pools(STALE_SECONDS)) < most:
            return
        has = len(await self.pools(FRESH_SECONDS))
        if has >= most:
            raise CreateError(
                "QuotaExceeded",
                f"the cluster has {has} of the {most} agent pools that AKS allows: delete some, or"
                " use another cluster",
            )

    async def order(self, name: str, body: Manifest, choice: Choice) -> AgentPool:
        """One PUT. Raises what the refusal means for the rung, QueuedError where others come
        first, ExistsError where there is a pool of that name."""
        await self._look_for_others()
        async with self._operations.turn(name):
            pool = await self._put(name, body, choice)
        self._began(pool, looks.CREATE_LOOKS)
        return pool

    async def end(self, pool: AgentPool) -> None:
        """Begin the end of a pool, or queue for it: the caller comes again until it is gone."""
        if pool.name in self._ending:
            return
        newest = self._pools.known.get(pool.name, pool)
        if newest.claim_uid == pool.claim_uid:
            pool = newest  # Node and claim end side by side, and one of them saw it earlier
        self._ending.add(pool.name)
        try:
            await self._end(pool)
        finally:
            self._ending.discard(pool.name)

    async def node(self, pool: AgentPool, *, ending: bool = False) -> Node | None:
        """Of this pool, not of one that had its name before; `ending`: also one that goes."""
        selector = f"{agentpools.POOL_LABEL}={pool.name}"
        if pool.claim_uid:
            selector += f",{agentpools.UID_LABEL}={pool.claim_uid}"
        return await joined(self._client, selector, ending=ending)

    async def has(self, pool: AgentPool, provider_id: str) -> bool:
        """Whether the pool still has that machine: an evicted spot machine leaves its pool."""
        machines = await self._api.machines(pool.name)
        return any(each.casefold() == provider_id.casefold() for each in machines)

    async def kubernetes_version(self) -> str:
        return await self._api.kubernetes_version()

    async def close(self) -> None:
        await self._pools.close()
        await self._api.close()

    def _moment(self, name: str) -> float:
        now = self._clock.monotonic()
        if name not in self._begun:
            return now - STALE_SECONDS
        begun, when = self._begun[name]
        due = looks.last_due(now - begun, when)
        return begun + due if due else NEVER

    def _began(self, pool: AgentPool, when: Sequence[float]) -> None:
        self._pools.write(pool)
        self._begun[pool.name] = (self._clock.monotonic(), when)

    async def _end(self, pool: AgentPool) -> None:
        if pool.state in agentpools.GOING:
            self.watched(pool)
        elif pool.busy and await self.node(pool, ending=True) is None:
            await self._abort(pool)
        else:
            await self._delete(pool)

    async def _look_for_others(self) -> None:
        """Whether what we queue for has ended: one look for all who queue."""
        await self._pools.since(self._operations.worth_a_look())

    async def _put(self, name: str, body: Manifest, choice: Choice) -> AgentPool:
        try:
            return await self._api.put(name, body)
        except RefusedError as refused:
            if refused.refusal.status == 412:
                self._pools.doubt()
                raise ExistsError(f"Azure: agent pool {name} exists already") from refused
            raise errors.translate(refused.refusal, *choice) from refused
        except CloudUnavailableError:  # it may have been done all the same
            self._pools.doubt()
            raise

    async def _delete(self, pool: AgentPool) -> None:
        etag = pool.etag if not pool.busy else ""
        try:
            await self._look_for_others()
            async with self._operations.turn(pool.name):
                await self._begin_delete(pool.name, etag)
        except QueuedError:
            return
        self._began(pool.become(agentpools.DELETING), looks.DELETE_LOOKS)

    async def _begin_delete(self, name: str, etag: str) -> None:
        try:
            await self._api.delete(name, etag)
        except RefusedError as refused:
            self._pools.doubt()
            if errors.in_progress(refused.refusal):
                raise QueuedError(str(refused), refused.refusal.retry_after) from refused
            raise
        except CloudUnavailableError:
            self._pools.doubt()
            raise

    async def _abort(self, pool: AgentPool) -> None:
        """A pool that is being made cannot be deleted; first it has to be left alone."""
        try:
            await self._api.abort(pool.name)
        except RefusedError as refused:
            self._pools.doubt()
            if refused.refusal.status not in {404, 409}:
                raise
            return  # it has ended by itself: the next look tells how
        except CloudUnavailableError:
            self._pools.doubt()
            raise
        self._began(pool.become(agentpools.CANCELING), looks.ABORT_LOOKS)
