"""`regex`: patterns that answers must not have, or must have."""

from __future__ import annotations

from rag.guardrails import patterns
from rag.guardrails.deadline import Deadline
from rag.guardrails.options import Options
from rag.guardrails.patterns import Pattern
from rag.guardrails.scanners.scanner import Scanned, Scanner, SpanScanner, Stage
from rag.guardrails.spans import Rule, Rules, whole_match

REDACTED = "[REDACTED]"
_MATCHES = ("search", "all", "fullmatch")


def build(options: Options) -> Scanner:
    """`search` and `all` are the same here: every match is replaced, not the first alone."""
    texts = options.texts("patterns")
    match_type = options.choice("match_type", _MATCHES, "search")
    blocked = options.flag("is_blocked", True)
    read = [patterns.read(each) for each in texts]
    if match_type == "fullmatch" or not blocked:
        return WholeText(read, fully=match_type == "fullmatch", wanted=not blocked)
    for text, each in zip(texts, read, strict=True):
        if not each.narrowest:
            raise options.wrong("patterns", f"has {text!r}, which matches where nothing is")
    return SpanScanner(Rules([Rule(each, whole_match(REDACTED)) for each in read]))


class WholeText:
    """Asks of the text as a whole whether a pattern is there."""

    def __init__(self, read: list[Pattern], *, fully: bool, wanted: bool) -> None:
        self._patterns = read
        self._fully = fully
        self._wanted = wanted

    def scan(self, text: str, deadline: Deadline) -> Scanned:
        search = deadline.fullmatch if self._fully else deadline.search
        found = any(search(each.exact, text) is not None for each in self._patterns)
        if found == self._wanted:
            return Scanned(text)
        return Scanned(text if self._wanted else REDACTED, 1, hopeless=self._wanted)

    def stream(self) -> Stage | None:
        return None
