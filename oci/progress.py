"""How far a transfer has come: told every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes that are there, of how many, and how fast they come (bytes a second)."""

    done: int
    total: int
    rate: float = 0.0

    @property
    def eta_seconds(self) -> float | None:
        """None where nobody can say."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


Watch: TypeAlias = Callable[[Moved], None]


def unwatched(_: Moved) -> None:
    """For those who tell nobody."""


class Progress:
    """Counts bytes from several threads, and tells of them while the block runs, at its begin
    and at its end."""

    def __init__(self, total: int, done: int, watch: Watch) -> None:
        self.stop = threading.Event()
        """Set when the transfer has failed: what still runs may end."""
        self._total, self._done = total, done
        self._began_with, self._began = done, time.monotonic()
        self._watch = watch
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count

    def __enter__(self) -> Self:
        self._watch(self._moved())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._watch(self._moved())

    def _run(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._watch(self._moved())

    def _moved(self) -> Moved:
        rate = (self._done - self._began_with) / max(time.monotonic() - self._began, 0.001)
        return Moved(self._done, self._total, rate)
