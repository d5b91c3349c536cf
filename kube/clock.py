"""Time as a dependency, so that tests advance it instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Timer(Protocol):
    """A callback that was asked for and can still be called off."""

    def cancel(self) -> None: ...


class Clock:
    """The real time. `tests.fakes.clock.FakeClock` stands in for it."""

    def now(self) -> datetime:
        """The wall clock, in UTC: for what is written into objects."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back: for measuring and for deadlines."""
        return time.monotonic()

    def heard(self, date: datetime) -> None:
        """What time it is at the API server, which has just said so. Of no concern here."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` on the running loop in `delay` seconds."""
        return asyncio.get_running_loop().call_later(max(delay, 0.0), callback)

    async def sleep(self, delay: float) -> None:
        """Give way for `delay` seconds; at least once around the loop."""
        if delay <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_later(delay, wake)
        try:
            await woken
        finally:
            timer.cancel()


_TOLERATED = timedelta(seconds=2)
"""A Date header knows whole seconds, and takes its time: smaller differences say nothing."""


class ServerClock(Clock):
    """The API server's wall clock, as far as its answers tell it.

    Timestamps of objects are the server's. Compared with a clock that runs ten minutes ahead, a
    claim that has just been made looks overdue; and of two replicas each would believe its own.
    """

    def __init__(self, own: Clock | None = None) -> None:
        self._own = own or Clock()
        self._ahead = timedelta()
        """Of the server, before our own clock."""

    def now(self) -> datetime:
        return self._own.now() + self._ahead

    def monotonic(self) -> float:
        return self._own.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return self._own.call_later(delay, callback)

    def heard(self, date: datetime) -> None:
        ahead = date + timedelta(seconds=0.5) - self._own.now()
        if abs(ahead - self._ahead) > _TOLERATED:
            self._ahead = ahead
