"""The work queue of client-go: each key waits at most once and is worked on by one at a time.

Adding a key that waits changes nothing; adding one that is being worked on makes it run once more
afterwards. So a burst of changes costs one run, and no change goes unseen.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from kube import metrics
from kube.clock import Clock, Timer

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Content(Generic[K]):
    """What a queue holds at a moment; seconds since, or until. `failures`: in a row, by key."""

    waiting: Mapping[K, float]
    again: Mapping[K, float]
    """Added while it is being worked on: it runs once more afterwards."""
    running: Mapping[K, float]
    delayed: Mapping[K, float]
    failures: Mapping[K, int]


class WorkQueue(Generic[K]):
    """`backoff`: first and longest delay of `add_rate_limited`, seconds; it doubles in between."""

    def __init__(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        backoff: tuple[float, float] = (0.005, 1000.0),
    ) -> None:
        self._clock = clock or Clock()
        self._backoff = backoff
        self._queue: deque[K] = deque()
        self._dirty: dict[K, float] = {}  # key → since when it waits
        self._running: dict[K, float] = {}  # key → since when it is worked on
        self._failures: dict[K, int] = {}
        self._due: dict[K, float] = {}  # key → deadline
        # Deadlines that were moved since stay in: `_due` decides. The number spares comparing keys.
        self._deadlines: list[tuple[float, int, K]] = []
        self._entries = 0
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._shut_down = False
        self._observe(name)

    def __len__(self) -> int:
        """How many keys are ready and not yet taken."""
        return len(self._queue)

    def add(self, key: K) -> None:
        """The key needs work."""
        if self._shut_down or key in self._dirty:
            return
        self._adds.inc()
        self._dirty[key] = self._clock.monotonic()
        if key not in self._running:
            self._enqueue(key)

    def add_after(self, key: K, delay: float) -> None:
        """The key needs work in `delay` seconds; of several deadlines the earliest holds."""
        if self._shut_down:
            return
        if delay <= 0:
            self.add(key)
            return
        deadline = self._clock.monotonic() + delay
        known = self._due.get(key)
        if known is not None and known <= deadline:
            return
        self._due[key] = deadline
        self._entries += 1
        heapq.heappush(self._deadlines, (deadline, self._entries, key))
        self._set_timer()

    def add_rate_limited(self, key: K) -> None:
        """The key failed: it needs work after a delay that doubles with each failure in a row."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._retries.inc()
        first, longest = self._backoff
        self.add_after(key, min(longest, first * 2 ** min(failures, 64)))

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure is a first one."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often the key was rate limited since it was last forgotten."""
        return self._failures.get(key, 0)

    def content(self) -> Content[K]:
        """For people who want to know why nothing happens."""
        now = self._clock.monotonic()
        dirty = {key: now - since for key, since in self._dirty.items()}
        return Content(
            waiting={key: since for key, since in dirty.items() if key not in self._running},
            again={key: since for key, since in dirty.items() if key in self._running},
            running={key: now - since for key, since in self._running.items()},
            delayed={key: due - now for key, due in self._due.items()},
            failures=dict(self._failures),
        )

    async def get(self) -> K | None:
        """The next key, once there is one; `done` must follow. None after `shut_down`."""
        while not self._queue and not self._shut_down:
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake()  # the turn that was ours is somebody else's now
                raise
            finally:
                if getter in self._getters:
                    self._getters.remove(getter)
        if self._shut_down:
            return None
        key = self._queue.popleft()
        now = self._clock.monotonic()
        self._queue_seconds.observe(now - self._dirty.pop(key))
        self._running[key] = now
        return key

    def done(self, key: K) -> None:
        """The work on the key ended, well or not; if it was added meanwhile, it is ready again."""
        self._work_seconds.observe(self._clock.monotonic() - self._running.pop(key))
        if key in self._dirty and not self._shut_down:
            self._enqueue(key)

    def shut_down(self) -> None:
        """Nothing more is taken or added. Unlike client-go's, what waits is dropped: the work is
        level-triggered, and whoever starts next sees it all again."""
        self._shut_down = True
        self._queue.clear()
        self._due.clear()
        self._deadlines.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._getters:
            self._wake()

    def _enqueue(self, key: K) -> None:
        self._queue.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self) -> None:
        earliest = self._deadlines[0][0]
        if self._timer is not None:
            if self._timer_at <= earliest:
                return
            self._timer.cancel()
        self._timer_at = earliest
        self._timer = self._clock.call_later(earliest - self._clock.monotonic(), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, _, key = heapq.heappop(self._deadlines)
            if self._due.get(key) == deadline:
                del self._due[key]
                self.add(key)
        if self._deadlines:
            self._set_timer()

    def _observe(self, name: str) -> None:
        self._adds = metrics.WORKQUEUE_ADDS.labels(name)
        self._retries = metrics.WORKQUEUE_RETRIES.labels(name)
        self._queue_seconds = metrics.WORKQUEUE_QUEUE_SECONDS.labels(name)
        self._work_seconds = metrics.WORKQUEUE_WORK_SECONDS.labels(name)
        metrics.WORKQUEUE_DEPTH.labels(name).set_function(lambda: len(self._queue))
        metrics.WORKQUEUE_UNFINISHED.labels(name).set_function(lambda: sum(self._ages()))
        metrics.WORKQUEUE_LONGEST.labels(name).set_function(lambda: max(self._ages(), default=0.0))

    def _ages(self) -> list[float]:
        now = self._clock.monotonic()
        # A scrape asks from another thread: the copy is one step of the interpreter.
        return [now - since for since in list(self._running.values())]
