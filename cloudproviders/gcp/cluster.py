"""The GKE cluster as this process knows it: its pools, its operations, whose turn it is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from cloudproviders.gcp import errors, nodepools
from cloudproviders.gcp.errors import GoogleError, Kind, Verdict
from cloudproviders.gcp.pool import WORKING, Pool, at_work
from cloudproviders.gcp.sdk import ClusterFacts, Operation
from cloudproviders.gcp.snapshot import Snapshot
from cloudproviders.gcp.turns import Turns
from kube.clock import Clock
from kube.meta import Manifest

LOOK_SECONDS = 5.0
"""How old the shared list may be for a decision."""

GOING_SECONDS = 10.0
"""How old it may be for a pool that is on its way out."""

FACTS_SECONDS = 15 * 60.0
OPERATIONS_SECONDS = 20.0
PATIENCE_SECONDS = 15.0

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Container(Protocol):
    """The part of container/v1 in use."""

    async def pools(self) -> dict[str, Pool]: ...
    async def operations(self) -> list[Operation]: ...
    async def facts(self) -> ClusterFacts: ...
    async def create(self, order: Manifest, /) -> None: ...
    async def delete(self, pool: str, /) -> None: ...
    async def cancel(self, operation: str, /) -> None: ...
    async def close(self) -> None: ...


class Cluster:
    """Reads are shared by all claims; writes take turns. Reads raise CloudUnavailableError."""

    def __init__(self, container: Container, operations_at_once: int, clock: Clock) -> None:
        self._container = container
        self._pools: Snapshot[Pool] = Snapshot(self._list_pools, clock)
        self._operations: Snapshot[Operation] = Snapshot(self._list_operations, clock)
        self._facts: Snapshot[ClusterFacts] = Snapshot(self._get_facts, clock)
        self._turns = Turns(operations_at_once, clock)
        self._clock = clock
        self._patience: dict[str, float] = {}
        """Until when a pool that Google is still making need not be deleted again."""
        self._uncancelled: set[str] = set()
        """Operations that Google would not call off."""
        self._stuck: set[str] = set()

    async def facts(self) -> ClusterFacts:
        return (await self._facts.all(FACTS_SECONDS))[""]

    async def pools(self, max_age: float = LOOK_SECONDS) -> Mapping[str, Pool]:
        return await self._pools.all(max_age)

    async def pools_of(self, uid: str) -> list[Pool]:
        """Of a claim, by attempt: no older than a decision allows; what is going may be older."""
        known = self.known_of(uid)
        going = known and all(pool.state == "STOPPING" for pool in known)
        return _of(uid, await self.pools(GOING_SECONDS if going else LOOK_SECONDS))

    def known_of(self, uid: str) -> list[Pool]:
        """The same, as far as is known without asking."""
        return _of(uid, self._pools.known())

    def flying(self, name: str) -> bool:
        """Whether an order or an end of the pool is on its way to Google."""
        return self._turns.flying(name)

    def stuck(self, pool: Pool) -> bool:
        """Whether Google neither makes the pool nor lets it be deleted."""
        return pool.name in self._stuck

    async def order(self, pool: Manifest) -> str:
        """Start the creation; "" or what it has to wait for. Raises GoogleError."""
        name, version = pool["name"], (await self.facts()).version
        if why := self._turns.ask(name, await self._at_work()):
            return why
        answered = False
        try:
            await self._container.create(pool)
            self._pools.note(name, nodepools.ordered(pool, version))
            answered = True
        except GoogleError as failed:
            answered = failed.kind not in {Kind.TRANSIENT, Kind.EXISTS}
            if failed.kind is not Kind.BUSY:
                raise
            self._turns.refused(name, await self._at_work(), failed.retry_after)
            return failed.message
        finally:
            self._landed(name, answered)
        return ""

    async def end(self, pool: Pool) -> None:
        """Start the end of the pool, when its turn has come; it is asked for until it has.

        GKE does not delete a pool while it is making it: then it is asked to stop making it.
        Raises CloudUnavailableError.
        """
        name, now = pool.name, self._clock.monotonic()
        if pool.state == "STOPPING" or now < self._patience.get(name, 0.0):
            return
        if self._turns.ask(name, await self._at_work()):
            return
        answered = False
        try:
            await self._container.delete(name)
            self._pools.note(name, replace(pool, state="STOPPING"))
            self._stuck.discard(name)
            answered = True
        except GoogleError as failed:
            answered = failed.kind is not Kind.TRANSIENT
            if failed.kind is Kind.NOT_FOUND:
                self._pools.drop(name)
                self._stuck.discard(name)
            elif failed.kind is Kind.BUSY and pool.state in WORKING:
                self._patience[name] = now + PATIENCE_SECONDS
                await self._call_off(name)
            elif failed.kind is Kind.BUSY:
                self._turns.refused(name, await self._at_work(), failed.retry_after)
            else:
                raise errors.unavailable(failed) from failed
        finally:
            self._landed(name, answered)

    async def failure(self, name: str) -> Verdict | None:
        """Of the pool's latest operation, as far as it tells of one."""
        found = [
            each
            for each in (await self._operations.all(OPERATIONS_SECONDS)).values()
            if each.pool == name and each.kind == "CREATE_NODE_POOL"
        ]
        if not found:
            return None
        latest = max(found, key=lambda each: (not each.done, each.name))
        if verdict := errors.of_codes(latest.codes):
            return verdict
        return errors.of_text(latest.message) if latest.done and latest.message else None

    async def close(self) -> None:
        for snapshot in (self._pools, self._operations, self._facts):
            await snapshot.close()
        await self._container.close()

    def _landed(self, name: str, answered: bool) -> None:
        self._turns.landed(name)
        if not answered:  # it may have been done, whatever we were told
            self._pools.distrust()

    async def _call_off(self, name: str) -> None:
        self._operations.distrust()
        for operation in (await self._operations.all(OPERATIONS_SECONDS)).values():
            if operation.pool != name or operation.done or operation.name in self._uncancelled:
                continue
            try:
                await self._container.cancel(operation.name)
            except GoogleError as refused:
                self._uncancelled.add(operation.name)
                self._stuck.add(name)
                logger.info("operation %s goes on: %s", operation.name, refused)

    async def _at_work(self) -> set[str]:
        return at_work((await self.pools(LOOK_SECONDS)).values())

    async def _list_pools(self) -> Mapping[str, Pool]:
        return await self._read(self._container.pools())

    async def _list_operations(self) -> Mapping[str, Operation]:
        return {each.name: each for each in await self._read(self._container.operations())}

    async def _get_facts(self) -> Mapping[str, ClusterFacts]:
        return {"": await self._read(self._container.facts())}

    async def _read(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except GoogleError as failed:
            raise errors.unavailable(failed) from failed


def _of(uid: str, pools: Mapping[str, Pool]) -> list[Pool]:
    found = [pool for pool in pools.values() if pool.ours and pool.claim_uid == uid.lower()]
    return sorted(found, key=lambda pool: pool.attempt)
