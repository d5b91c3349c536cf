"""Whose turn it is: GKE runs few operations on a cluster at a time, and refuses the rest.

Nobody waits here. Who is told to wait asks again, and keeps his place in the line as long as he
does. How many operations the cluster takes beside each other is learnt from its refusals.
"""

from __future__ import annotations

import itertools
from collections.abc import Set

from kube.clock import Clock

FORGET_SECONDS = 60.0
"""Who has not asked for so long has left the line."""

RELAX_SECONDS = 10 * 60.0
"""After a refusal, until one operation more is tried."""

PAUSE_SECONDS = 10.0
"""After a refusal while nothing of ours was running: somebody else's upgrade takes minutes."""


class Turns:
    """`most` operations at a time, fewer where the cluster refuses them."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._limit = most
        self._clock = clock
        self._numbers = itertools.count()
        self._line: dict[str, tuple[int, float]] = {}
        """Number in the line, and when it was last asked for."""
        self._flying: dict[str, int] = {}
        self._paused_until = 0.0
        self._relaxed_at = 0.0

    @property
    def limit(self) -> int:
        return self._limit

    def flying(self, name: str) -> bool:
        """Whether a call for that name is on its way."""
        return name in self._flying

    def ask(self, name: str, at_work: Set[str]) -> str:
        """ "" when it is `name`'s turn: `landed` must follow. Else what it waits for."""
        now = self._clock.monotonic()
        self._relax(now)
        number, _ = self._line.get(name) or (next(self._numbers), now)
        self._line[name] = (number, now)
        self._line = {
            each: (place, asked)
            for each, (place, asked) in self._line.items()
            if now - asked <= FORGET_SECONDS
        }
        busy = (set(at_work) | self._flying.keys()) - {name}
        ahead = sum(place < number for place, _ in self._line.values())
        if now < self._paused_until:
            return f"the cluster is at work on something else, {ahead} before it"
        if ahead >= self._limit - len(busy):
            return f"{len(busy)} node pool operations are in progress, {ahead} before it"
        del self._line[name]
        self._flying[name] = number
        return ""

    def landed(self, name: str) -> None:
        self._flying.pop(name, None)

    def refused(self, name: str, at_work: Set[str], retry_after: float | None = None) -> None:
        """The cluster takes no more than it has; `name`, still flying, keeps its place."""
        now = self._clock.monotonic()
        if name in self._flying:
            self._line[name] = (self._flying[name], now)
        busy = (set(at_work) | self._flying.keys()) - {name}
        self._limit = max(1, min(self._limit, len(busy)))
        self._relaxed_at = now + RELAX_SECONDS
        if retry_after is not None or not busy:
            self._paused_until = now + (retry_after or PAUSE_SECONDS)

    def _relax(self, now: float) -> None:
        if self._limit < self._most and now >= self._relaxed_at:
            self._limit += 1
            self._relaxed_at = now + RELAX_SECONDS
