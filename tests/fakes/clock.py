"""Time that passes when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from kube.clock import Clock


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock(Clock):
    """Sleepers and delayed keys wake when `advance` reaches their time; nothing really sleeps."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._passed = 0.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._made = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    def call_later(self, delay: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(callback)
        self._made += 1
        heapq.heappush(self._timers, (self._passed + max(delay, 0.0), self._made, timer))
        return timer

    def waiting(self) -> list[float]:
        """In how many seconds each pending timer is due, soonest first."""
        return sorted(at - self._passed for at, _, timer in self._timers if timer.callback)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due runs in its order. Woken tasks run at the next await."""
        target = self._passed + seconds
        while self._timers and self._timers[0][0] <= target:
            at, _, timer = heapq.heappop(self._timers)
            self._passed = max(self._passed, at)
            if timer.callback is not None:
                timer.callback()
        self._passed = target

    async def pass_(self, seconds: float, *, step: float = 1.0) -> None:
        """Let time pass in steps, with everybody running in between: for loops that sleep."""
        await settle()
        while seconds > 0:
            self.advance(min(step, seconds))
            seconds -= step
            await settle()


class ImpatientClock(FakeClock):
    """On which every sleep ends at once, having lasted: for retries against real sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, delay: float) -> None:
        self.slept.append(delay)
        self.advance(max(delay, 0.0))
        await asyncio.sleep(0)


async def settle(rounds: int = 20) -> None:
    """Let every task that can go on do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)
