"""Many callers, few calls: what is asked for while a call is under way goes into the next one.

Karpenter waits for a window (100 ms) to fill; this way nobody waits while the cloud is idle, and
under load calls grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from kube.clock import Clock

K = TypeVar("K")
V = TypeVar("V")


class Coalesced(Generic[K, V]):
    """One call at a time, with all keys that came meanwhile; every caller gets its answer.

    A caller that is cancelled does not take the others' call along.
    """

    def __init__(self, call: Callable[[Sequence[K]], Awaitable[V]]) -> None:
        self._call = call
        self._keys: dict[K, None] = {}
        self._next: asyncio.Task[V] | None = None
        self._running: asyncio.Task[V] | None = None

    async def __call__(self, *keys: K) -> V:
        self._keys.update(dict.fromkeys(keys))
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
            self._next.add_done_callback(_seen)
        return await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[V] | None) -> V:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        keys, self._keys = list(self._keys), {}
        return await self._call(keys)

    async def close(self) -> None:
        """Nobody waits any more."""
        tasks = [task for task in (self._running, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Remembered(Generic[K, V]):
    """Answers that hold for `ttl` seconds. Failures are not remembered."""

    def __init__(self, look: Callable[[K], Awaitable[V]], ttl: float, clock: Clock) -> None:
        self._look = look
        self._ttl = ttl
        self._clock = clock
        self._known: dict[K, tuple[float, V]] = {}
        self._looking: dict[K, asyncio.Task[V]] = {}

    async def __call__(self, key: K) -> V:
        """The answer for the key; callers at the same time share one look."""
        now = self._clock.monotonic()
        if key in self._known and self._known[key][0] > now:
            return self._known[key][1]
        self._known = {old: known for old, known in self._known.items() if known[0] > now}
        if key not in self._looking:
            task = asyncio.create_task(self._learn(key))
            task.add_done_callback(_seen)
            self._looking[key] = task
        return await asyncio.shield(self._looking[key])

    def forget(self, key: K) -> None:
        self._known.pop(key, None)

    async def close(self) -> None:
        """Nobody waits any more."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _learn(self, key: K) -> V:
        try:
            answer = await self._look(key)
        finally:
            del self._looking[key]
        self._known[key] = (self._clock.monotonic() + self._ttl, answer)
        return answer


def _seen(task: asyncio.Task[V]) -> None:
    """Callers may have gone; what failed was told to those that stayed."""
    if not task.cancelled():
        task.exception()
