"""What the kinds of scanners have in common. They are made once, and used by many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rag.guardrails.deadline import Deadline
from rag.guardrails.spans import Redaction, Rules


@dataclass(frozen=True, slots=True)
class Scanned:
    text: str
    """Without what was found."""
    hits: int = 0
    hopeless: bool = False
    """Something was found that cannot be taken out: only blocking helps, whatever the action."""


class Stage(Protocol):
    """A scanner at work on one text that comes in pieces; each call says what can go now."""

    @property
    def hits(self) -> int: ...

    def feed(self, text: str, deadline: Deadline) -> str: ...

    def end(self, deadline: Deadline) -> str: ...


class Scanner(Protocol):
    def scan(self, text: str, deadline: Deadline) -> Scanned:
        """Raises ScanError."""
        ...

    def stream(self) -> Stage | None:
        """None where all of a text must be known before any of it may go."""
        ...


class SpanScanner:
    """Replaces what patterns match."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def scan(self, text: str, deadline: Deadline) -> Scanned:
        redaction = Redaction(self._rules)
        return Scanned(redaction.whole(text, deadline), redaction.hits)

    def stream(self) -> Stage | None:
        return Redaction(self._rules)
