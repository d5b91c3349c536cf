"""Redacts what patterns match, in a whole text as in one that comes in pieces.

There is one way through it, so that a stream shows what the whole text would, however it is cut: a
whole text is a stream that ends with its first piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rag.guardrails import patterns
from rag.guardrails.deadline import Deadline
from rag.guardrails.patterns import Pattern

_KEPT = 4096
"""Characters that were let go of, before the memory of them is given back."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is replaced, in characters of the text."""

    start: int
    end: int
    replacement: str
    rank: int = 0
    """Of its rule: of two that cover the same, the lower one names it."""

    @property
    def order(self) -> tuple[int, int, int]:
        return (self.start, -self.end, self.rank)

    def moved(self, by: int) -> Span:
        return replace(self, start=self.start + by, end=self.end + by)


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, and what of its matches counts."""

    pattern: Pattern
    accept: Callable[[Any], Sequence[Span]]
    """Of a match what is replaced; nothing, where it was none after all."""
    searches_within: bool = True
    """Whether a match that was none may hide another one that begins inside it."""


def whole_match(replacement: str) -> Callable[[Any], Sequence[Span]]:
    """All of the match is replaced."""

    def accept(match: Any) -> Sequence[Span]:
        return (Span(match.start(), match.end(), replacement),)

    return accept


class Rules:
    """Several, whose matches are replaced together; where they overlap, as one."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.each = tuple(rules)
        self.alive = patterns.first_alive([rule.pattern for rule in rules])
        self.behind = max((rule.pattern.behind for rule in rules), default=1)


class Redaction:
    """Of one text. `hits` counts what was replaced so far."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._text = ""
        self._gone = 0
        """Up to here the text was let go of."""
        self._decided = 0
        """What begins before here is found, if it is there."""
        self._next = [0] * len(rules.each)
        self._spans: list[Span] = []
        self.hits = 0

    def feed(self, text: str, deadline: Deadline) -> str:
        """What can go now."""
        self._text += text
        undecided = deadline.search(self._rules.alive, self._text, self._decided)
        return self._advance(undecided.start() if undecided else len(self._text), deadline)

    def whole(self, text: str, deadline: Deadline) -> str:
        self._text = text
        return self.end(deadline)

    def end(self, deadline: Deadline) -> str:
        return self._advance(len(self._text) + 1, deadline)

    def _advance(self, decided: int, deadline: Deadline) -> str:
        """`decided`: no match that begins before it depends on what comes after the text."""
        self._decided = decided
        for place, rule in enumerate(self._rules.each):
            self._next[place] = self._find(rule, place, deadline)
        released = self._release()
        self._forget()
        return released

    def _find(self, rule: Rule, rank: int, deadline: Deadline) -> int:
        """Its matches that are decided; where to look on."""
        start = self._next[rank]
        while start < self._decided:
            match = deadline.search(rule.pattern.exact, self._text, start)
            if match is None or match.start() >= self._decided:
                return max(start, self._decided)
            spans = rule.accept(match)
            self._spans += [replace(each, rank=rank) for each in spans]
            on = spans or not rule.searches_within
            start = max(match.end(), match.start() + 1) if on else match.start() + 1
        return start

    def _release(self) -> str:
        self._spans.sort(key=lambda each: each.order)
        out, rest, until = [], [], min(self._decided, len(self._text))
        for span in _merged(self._spans):
            if span.end > until:
                until = min(until, span.start)
            if span.start >= until:
                rest.append(span)
                continue
            out += [self._text[self._gone : span.start], span.replacement]
            self._gone = span.end
            self.hits += 1
        self._spans = rest
        out.append(self._text[self._gone : until])
        self._gone = max(self._gone, until)
        return "".join(out)

    def _forget(self) -> None:
        """What is behind the reach of every pattern. A little always stays, so that the text's
        beginning is not taken for what it is no longer."""
        past = min(self._gone, *self._next, self._decided) - self._rules.behind
        if past < _KEPT:
            return
        self._text = self._text[past:]
        self._gone -= past
        self._decided -= past
        self._next = [each - past for each in self._next]
        self._spans = [each.moved(-past) for each in self._spans]


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Those that overlap are one, with the words of the first."""
    out: list[Span] = []
    for span in spans:
        if out and span.start < out[-1].end:
            last = out[-1]
            out[-1] = replace(last, end=max(last.end, span.end))
        else:
            out.append(span)
    return out
