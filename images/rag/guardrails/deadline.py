"""A scan ends, whatever the text: `re` could not be interrupted, `regex` can."""

from __future__ import annotations

from time import monotonic
from typing import Any

from rag.guardrails.errors import ScanError

_SHORTEST = 0.001


class Deadline:
    def __init__(self, seconds: float) -> None:
        self._until = monotonic() + seconds

    def search(self, pattern: Any, text: str, start: int = 0) -> Any:
        """As `pattern.search`, with other threads running meanwhile. Raises ScanError."""
        try:
            return pattern.search(text, start, timeout=self._left(), concurrent=True)
        except TimeoutError:
            raise ScanError from None

    def fullmatch(self, pattern: Any, text: str) -> Any:
        try:
            return pattern.fullmatch(text, timeout=self._left(), concurrent=True)
        except TimeoutError:
            raise ScanError from None

    def _left(self) -> float:
        left = self._until - monotonic()
        if left <= 0:
            raise ScanError
        return max(left, _SHORTEST)
