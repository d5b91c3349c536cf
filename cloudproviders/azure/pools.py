"""What agent pools there are: one read that everybody shares."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from cloudproviders.azure.agentpools import AgentPool
from kube.clock import Clock

Snapshot: TypeAlias = Mapping[str, AgentPool]
"""By name."""

NEVER = float("-inf")


class Pools:
    """Reads when somebody needs to know something younger than the last read, and then once for
    all who do. What we have done ourselves since is put on top."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[AgentPool]]],
        clock: Clock,
        seen: Callable[[Snapshot, float], None],
    ) -> None:
        self._read = read
        self._clock = clock
        self._seen = seen
        self._known: dict[str, AgentPool] = {}
        self._as_of = self._doubted = NEVER
        self._written: dict[str, tuple[int, AgentPool]] = {}
        self._happenings = itertools.count()
        """Orders reads and writes, which the clock may not."""
        self._reading: asyncio.Task[None] | None = None

    @property
    def known(self) -> Snapshot:
        """As last seen, however long ago."""
        return self._known

    async def since(self, moment: float) -> Snapshot:
        """The pools as they were at `moment` of the monotonic clock, or later."""
        while self._as_of < max(moment, self._doubted):
            if self._reading is None:
                self._reading = asyncio.create_task(self._refresh(), name="list agent pools")
                self._reading.add_done_callback(self._read_ended)
            # Who stops waiting must not take the answer away from the others.
            await asyncio.shield(self._reading)
        return self._known

    def write(self, pool: AgentPool) -> None:
        """As ARM has just told us, or as it will be after what we have just asked for."""
        self._written[pool.name] = (next(self._happenings), pool)
        self._known[pool.name] = pool

    def doubt(self) -> None:
        """Something has been done that we have not seen the end of."""
        self._as_of, self._doubted = NEVER, self._clock.monotonic()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _refresh(self) -> None:
        since, begun = self._clock.monotonic(), next(self._happenings)
        found = {pool.name: pool for pool in await self._read()}
        self._written = {
            name: (at, pool) for name, (at, pool) in self._written.items() if at > begun
        }
        found.update({name: pool for name, (_, pool) in self._written.items()})
        self._known, self._as_of = found, since
        self._seen(found, since)

    def _read_ended(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # told to those who waited, if anybody still did
