"""`invisible_text`: characters that say something to machines and nothing to the eye."""

from __future__ import annotations

import regex

from rag.guardrails.deadline import Deadline
from rag.guardrails.options import Options
from rag.guardrails.scanners.scanner import Scanned, Scanner, Stage

_INVISIBLE = regex.compile(r"[[\p{Cf}\p{Cc}\p{Co}\p{Cn}]--[\t\n\r]]", regex.V1)
"""Upstream's categories; but tabs and the ends of lines are no secret, and stay."""


def build(_: Options) -> Scanner:
    return Invisible()


class Invisible:
    def scan(self, text: str, deadline: Deadline) -> Scanned:
        stage = Removal()
        return Scanned(stage.feed(text, deadline), stage.hits)

    def stream(self) -> Stage | None:
        return Removal()


class Removal:
    """Each character is decided by itself, so nothing is held back."""

    def __init__(self) -> None:
        self.hits = 0

    def feed(self, text: str, _: Deadline) -> str:
        shown, found = _INVISIBLE.subn("", text)
        self.hits += found
        return str(shown)

    def end(self, _: Deadline) -> str:
        return ""
