"""`sensitive`: what identifies people, and their machines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from rag.guardrails import patterns
from rag.guardrails.options import Options
from rag.guardrails.scanners.scanner import Scanner, SpanScanner
from rag.guardrails.spans import Rule, Rules, Span, whole_match

DETECTORS: Final = ("email", "phone", "credit_card", "ip_address")
_RANKED: Final = ("email", "ip_address", "credit_card", "phone")
"""Who names what several of them find: nearly everything looks like a phone number."""
_EMAIL: Final = r"[a-zA-Z0-9._%+\-]{1,64}@(?:[a-zA-Z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z])"
_CARD: Final = r"(?<!\d)\d(?:[ -]?\d){12,}"
_BETWEEN: Final = r"(?:\)?[ .\-]{1,2}\(?|\)|\()"
_PHONE: Final = (
    r"(?<![\w.])(?:\+\d{10,15}(?!\d)"
    rf"|(?:\+|\()?\d{{1,4}}(?:{_BETWEEN}\d{{2,5}}){{1,6}}\)?(?!\w))"
)
_DATE: Final = re.compile(r"(?:19|20)\d\d[-.]\d\d[-.]\d\d")
_IPV4: Final = r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)"
_IPV6: Final = (
    r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}"
    r"(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])"
)
_MOST_DIGITS: Final = 19
_RUN: Final = re.compile(r"\d+")


def build(options: Options) -> Scanner:
    wanted = [each.lower() for each in options.texts("detectors", DETECTORS)]
    for each in wanted:
        if each not in DETECTORS:
            raise options.wrong("detectors", f"has {each!r}, not one of {', '.join(DETECTORS)}")
    ranked = [each for each in _RANKED if each in wanted]
    return SpanScanner(Rules([rule for each in ranked for rule in _rules(each)]))


def _rules(detector: str) -> list[Rule]:
    label = f"<{detector.upper()}>"
    if detector == "email":
        return [Rule(patterns.read(_EMAIL), whole_match(label))]
    if detector == "phone":
        return [Rule(patterns.read(_PHONE), _windows(_is_phone, label))]
    if detector == "credit_card":
        accept = _windows(_is_card, label)
        return [Rule(patterns.read(_CARD), accept, searches_within=False)]
    return [Rule(patterns.read(each), _address(label)) for each in (_IPV4, _IPV6)]


def _windows(counts: Callable[[str, str], bool], label: str) -> Callable[[Any], Sequence[Span]]:
    """Of the groups of digits in a match those runs that count, longest first: a card's number
    stays one where its expiry date follows."""

    def accept(match: Any) -> Sequence[Span]:
        groups = [(each.start(), each.end()) for each in _RUN.finditer(match[0])]
        spans: list[Span] = []
        first = 0
        while first < len(groups):
            last = _longest(match[0], groups, first, counts)
            if last >= 0:
                start = 0 if first == 0 else groups[first][0]
                end = len(match[0]) if last == len(groups) - 1 else groups[last][1]
                spans.append(Span(match.start() + start, match.start() + end, label))
            first = max(first, last) + 1
        return spans

    return accept


def _longest(
    text: str, groups: list[tuple[int, int]], first: int, counts: Callable[[str, str], bool]
) -> int:
    """The last group of the longest run from `first` that counts; -1 where none does."""
    digits, found = "", -1
    for place in range(first, len(groups)):
        start, end = groups[place]
        digits += text[start:end]
        if len(digits) > _MOST_DIGITS:
            break
        if counts(digits, text[groups[first][0] : end]):
            found = place
    return found


def _is_card(digits: str, _: str) -> bool:
    """ISO/IEC 7812: 13 to 19 digits, the last of which is Luhn's."""
    if not 13 <= len(digits) <= _MOST_DIGITS:
        return False
    doubled = [2 * int(each) for each in digits[-2::-2]]
    plain = [int(each) for each in digits[::-2]]
    return (sum(plain) + sum(each - 9 if each > 9 else each for each in doubled)) % 10 == 0


def _is_phone(digits: str, text: str) -> bool:
    """E.164 has 15 digits at most; fewer than 10 may be anything. A bare number is none."""
    return 10 <= len(digits) <= 15 and _DATE.match(text) is None


def _address(label: str) -> Callable[[Any], Sequence[Span]]:
    def accept(match: Any) -> Sequence[Span]:
        try:
            found = ipaddress.ip_address(match[0])
        except ValueError:
            return ()
        return whole_match(label)(match) if int(found) or found.version == 4 else ()

    return accept
