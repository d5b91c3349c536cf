"""How many pool operations may run at a time: as many as the cluster lets us, found out gently.

AKS takes many operations beside each other, or one, or none while the cluster itself is at work
(aka.ms/aks-pending-operation), and says so only by refusing. So the first calls go out by ones and
twos, twice as many after each answer; a refusal closes the gate to what is known to run, and those
who come later queue here, in their order, where it costs no call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloudproviders.azure.errors import BusyError, QueuedError
from cloudproviders.azure.pools import NEVER, Snapshot
from kube.clock import Clock

WIDEST = 64
"""Calls that may wait for their answer at a time."""
FORGET_SECONDS = 300.0
"""After so long without a refusal the gate opens again."""
IDLE_SECONDS = 10.0
"""After so long without a call the next ones go out by ones and twos again."""
HEAD_SECONDS = 2.0
LATER_SECONDS = 10.0
"""When to come again: who is next, and everybody behind him."""
GIVEN_UP_SECONDS = 60.0
"""Who has not asked for so long has gone, and loses his place."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""After refusals for an operation that is not ours, when nobody says how long."""
LOOK_SECONDS = 10.0
"""Between looks at an operation that others wait for, once it could have ended."""
JOINED_SECONDS = 1.0
"""From a machine's Node to the end of the operation that made it, at the least."""


class Operations:
    """`async with operations.turn(pool): …` around each call that begins one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asking = 0
        self._asked = NEVER
        self._window = 1
        self._limit: int | None = None
        self._running: dict[str, float] = {}
        self._joined: dict[str, float] = {}
        self._usual = LOOK_SECONDS
        """Seconds that operations took of late."""
        self._queue: dict[str, float] = {}
        self._not_before = NEVER
        self._refused = NEVER
        self._pause = FIRST_PAUSE
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def turn(self, pool: str) -> AsyncIterator[None]:
        """Wait for an answer or two, but never for an operation: QueuedError says when to come
        again. A QueuedError raised inside is a refusal by the cluster, and passes through."""
        await self._admitted(pool)
        self._asking += 1
        try:
            yield
        except QueuedError as refused:
            self._refuse(refused.wait)
            self._queue = {pool: self._clock.monotonic(), **self._queue}
            raise
        except BusyError:
            self._window = 1
            raise
        else:
            self._running[pool] = self._clock.monotonic()
            self._window = min(self._window + 1, WIDEST)
            self._pause = FIRST_PAUSE
        finally:
            self._asking -= 1
            self._asked = self._clock.monotonic()
            async with self._changed:
                self._changed.notify_all()

    def joined(self, pool: str) -> None:
        """Its machine's Node is there: the operation is as good as over."""
        if pool in self._running:
            self._joined.setdefault(pool, self._clock.monotonic())

    def seen(self, pools: Snapshot, since: float) -> None:
        """What a look at the cluster, begun at `since`, tells of what runs."""
        for name, begun in list(self._running.items()):
            pool = pools.get(name)
            if begun < since and (pool is None or not pool.busy):
                self._usual = since - begun
                del self._running[name]
                self._joined.pop(name, None)
        for name, pool in pools.items():
            if pool.busy:
                self._running.setdefault(name, since)

    def worth_a_look(self) -> float:
        """The last moment at which what others wait for may have ended. NEVER: nobody waits."""
        if self._limit is None or not self._running:
            return NEVER
        now = self._clock.monotonic()
        due = [self._due(name, begun) for name, begun in self._running.items()]
        passed = [each for each in due if each <= now]
        if not passed:
            return NEVER
        first = min(passed)
        return first + (now - first) // LOOK_SECONDS * LOOK_SECONDS

    def _due(self, pool: str, begun: float) -> float:
        if (joined := self._joined.get(pool)) is not None:
            return joined + JOINED_SECONDS
        return begun + self._usual

    async def _admitted(self, pool: str) -> None:
        now = self._clock.monotonic()
        if self._limit is not None and now - self._refused > FORGET_SECONDS:
            self._limit, self._window = None, 1
        if not self._asking and now - self._asked > IDLE_SECONDS:
            self._window = 1
        while self._limit is None and self._asking >= self._window:
            async with self._changed:
                await self._changed.wait()
        if self._limit is not None:
            self._take_place(pool, self._limit)
        self._queue.pop(pool, None)

    def _take_place(self, pool: str, limit: int) -> None:
        now = self._clock.monotonic()
        self._queue = {name: at for name, at in self._queue.items() if now - at <= GIVEN_UP_SECONDS}
        self._queue[pool] = now
        ahead = list(self._queue).index(pool)
        free = limit - len(self._running) - self._asking
        if now >= self._not_before and ahead < free:
            return
        wait = max(self._not_before - now, LATER_SECONDS if ahead else HEAD_SECONDS)
        raise QueuedError(
            "the cluster takes no more operations for now (https://aka.ms/aks-pending-operation);"
            f" agent pool {pool} is number {ahead + 1} in the queue",
            wait,
        )

    def _refuse(self, wait: float | None) -> None:
        now = self._clock.monotonic()
        self._refused = now
        self._limit, self._window = max(1, len(self._running)), 1
        if wait is None and not self._running:
            wait, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        self._not_before = max(self._not_before, now + (wait or 0.0))
