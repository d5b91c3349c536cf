"""Lines that say what a long step is doing and how long it took."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REMINDER_SECONDS = 15.0
Say = Callable[[str], None]
"""Prints one line of progress."""


def to_stderr(line: str) -> None:
    """The default: standard output stays free for what a command answers."""
    print(line, file=sys.stderr, flush=True)


def silent(_line: str) -> None:
    """For callers that show no progress."""


@contextmanager
def stage(say: Say, title: str) -> Iterator[None]:
    """Announce a step, say now and then that it goes on, and tell its seconds at its end."""
    say(f"{title} ...")
    begun = time.monotonic()
    ended = threading.Event()

    def remind() -> None:
        while not ended.wait(REMINDER_SECONDS):
            say(f"{title} ... {time.monotonic() - begun:.0f} s")

    threading.Thread(target=remind, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
    say(f"{title}: {time.monotonic() - begun:.1f} s")
