"""What pools there are, read once for everybody; and whose turn it is to change one.

A cluster on Azure Local runs one long operation at a time and refuses the others. So nobody asks
while one is known to run: claims queue here, where it costs no call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

from cloudproviders.arc.pools import Pool
from kube.clock import Clock

Known: TypeAlias = Mapping[str, Pool]
"""By name."""

GIVEN_UP_SECONDS = 90.0
"""Who has not asked for so long has gone, and loses his place."""


class Book:
    """Reads when what it knows is too old for somebody, with what was written since on top."""

    def __init__(self, read: Callable[[], Awaitable[Iterable[Pool]]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._known: dict[str, Pool] = {}
        self._as_of: float | None = None
        self._begun = 0
        self._edits = 0
        self._written: dict[str, tuple[int, Pool | None]] = {}
        self._reading = asyncio.Lock()

    async def pools(self, age: float) -> Known:
        """As they were at most `age` seconds ago; 0 is a read begun after this call."""
        asked, begun = self._clock.monotonic(), self._begun
        async with self._reading:
            too_old = self._as_of is None or asked - self._as_of > age
            if too_old or (age <= 0 and self._begun == begun):
                await self._refresh()
            return dict(self._known)

    def write(self, name: str, pool: Pool | None) -> None:
        """What we have just done, None: it is gone."""
        self._edits += 1
        self._written[name] = (self._edits, pool)
        self._apply(name, pool)

    def doubt(self) -> None:
        """Something was done, and we do not know whether."""
        self._as_of = None

    async def _refresh(self) -> None:
        since, edits = self._clock.monotonic(), self._edits
        self._begun += 1
        self._known = {pool.name: pool for pool in await self._read()}
        self._as_of = since
        self._written = {name: edit for name, edit in self._written.items() if edit[0] > edits}
        for name, (_, pool) in self._written.items():
            self._apply(name, pool)

    def _apply(self, name: str, pool: Pool | None) -> None:
        if pool is None:
            self._known.pop(name, None)
        else:
            self._known[name] = pool


class Turns:
    """Who waits for the cluster's one operation, first come first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, float] = {}

    def ahead(self, who: str) -> int:
        """How many go before; who asks gets a place, and keeps it by asking."""
        now = self._clock.monotonic()
        self._waiting[who] = now
        self._waiting = {
            name: at for name, at in self._waiting.items() if now - at <= GIVEN_UP_SECONDS
        }
        return list(self._waiting).index(who)

    def taken(self, who: str) -> None:
        self._waiting.pop(who, None)
