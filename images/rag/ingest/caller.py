"""Whoever asked, as a thread that works for them sees it. A thread cannot be stopped from outside,
so it looks, between documents and between their chunks, whether anybody still waits."""

from __future__ import annotations


class GoneError(Exception):
    """Nobody waits; ends the thread's work, and is seen by nobody."""


class Caller:
    """Of one request. `leave` is called in the event loop, `check` in threads."""

    def __init__(self) -> None:
        self._is_gone = False

    def leave(self) -> None:
        self._is_gone = True

    def check(self) -> None:
        """Raises GoneError."""
        if self._is_gone:
            raise GoneError
