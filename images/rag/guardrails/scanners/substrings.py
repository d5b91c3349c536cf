"""`ban_substrings`: words that answers must not have."""

from __future__ import annotations

import re

from rag.guardrails import patterns
from rag.guardrails.deadline import Deadline
from rag.guardrails.options import Options
from rag.guardrails.scanners.regexes import REDACTED
from rag.guardrails.scanners.scanner import Scanned, Scanner, SpanScanner, Stage
from rag.guardrails.spans import Rule, Rules, whole_match


def build(options: Options) -> Scanner:
    substrings = options.texts("substrings")
    words = options.choice("match_type", ("word", "str"), "word") == "word"
    flags = 0 if options.flag("case_sensitive", False) else re.IGNORECASE
    rules = [
        Rule(patterns.read(_pattern(each, words), flags), whole_match(REDACTED))
        for each in substrings
    ]
    return AllOf(rules) if options.flag("contains_all", False) else SpanScanner(Rules(rules))


def _pattern(substring: str, words: bool) -> str:
    """A word ends where no letter, digit or underscore follows one of them: of `C++` the end is
    no such place, and it is a word all the same."""
    text = re.escape(substring)
    if words and re.match(r"\w", substring):
        text = rf"(?<!\w){text}"
    if words and re.search(r"\w\Z", substring):
        text = rf"{text}(?!\w)"
    return text


class AllOf:
    """A finding only where every one of the substrings is there."""

    def __init__(self, rules: list[Rule]) -> None:
        self._patterns = [each.pattern for each in rules]
        self._redacting = SpanScanner(Rules(rules))

    def scan(self, text: str, deadline: Deadline) -> Scanned:
        if any(deadline.search(each.exact, text) is None for each in self._patterns):
            return Scanned(text)
        return self._redacting.scan(text, deadline)

    def stream(self) -> Stage | None:
        return None
