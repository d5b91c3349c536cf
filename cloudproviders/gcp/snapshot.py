"""One list for everybody: what the cluster has, read at most once at a time and as often as needed.

What this process itself has just done stands in it at once (`note`, `drop`), until a read that
began later says how it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from kube.clock import Clock

T = TypeVar("T")


class Snapshot(Generic[T]):
    """Named things of a cloud. `read` asks the cloud for all of them."""

    def __init__(self, read: Callable[[], Awaitable[Mapping[str, T]]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._seen: dict[str, T] = {}
        self._seen_at: float | None = None
        self._seen_by = 0
        self._noted: dict[str, tuple[T | None, int]] = {}
        """What we did ourselves, with the number of the last read that cannot know of it."""
        self._reads = 0
        self._trusted_from = 0
        """Reads with a smaller number began before something happened that nobody can tell."""
        self._reading: tuple[int, asyncio.Task[None]] | None = None

    async def all(self, max_age: float) -> Mapping[str, T]:
        """By name, no older than `max_age` seconds; raises what the read raises."""
        if not self._fresh(max_age):
            await asyncio.shield(self._join())
        return self.known()

    def known(self) -> Mapping[str, T]:
        """As far as is known without asking."""
        known = dict(self._seen)
        for name, (thing, _) in self._noted.items():
            if thing is None:
                known.pop(name, None)
            else:
                known[name] = thing
        return known

    def note(self, name: str, thing: T) -> None:
        """We have made or changed it."""
        self._noted[name] = (thing, self._reads)

    def drop(self, name: str) -> None:
        """It is gone."""
        self._noted[name] = (None, self._reads)

    def distrust(self) -> None:
        """A call ended without an answer: look again before anything is decided."""
        self._trusted_from = self._reads + 1

    async def close(self) -> None:
        if self._reading is not None:
            self._reading[1].cancel()
            await asyncio.gather(self._reading[1], return_exceptions=True)

    def _fresh(self, max_age: float) -> bool:
        return (
            self._seen_at is not None
            and not self._trusted_from
            and self._clock.monotonic() - self._seen_at <= max_age
        )

    def _join(self) -> asyncio.Task[None]:
        """The read that is under way, where it began late enough; else a new one."""
        if self._reading is not None:
            number, task = self._reading
            if not task.done() and number >= self._trusted_from:
                return task
        self._reads += 1
        task = asyncio.create_task(self._look(self._reads), name="snapshot")
        task.add_done_callback(_retrieve)  # everybody who waited may be gone by then
        self._reading = (self._reads, task)
        return task

    async def _look(self, number: int) -> None:
        began = self._clock.monotonic()
        seen = await self._read()
        if number < self._seen_by:
            return
        self._seen, self._seen_at, self._seen_by = dict(seen), began, number
        if number >= self._trusted_from:
            self._trusted_from = 0
        self._noted = {
            name: (thing, mark) for name, (thing, mark) in self._noted.items() if mark >= number
        }


def _retrieve(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
