"""Time as a dependency, so that tests advance it instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
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
