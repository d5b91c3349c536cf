"""Patterns mean what Python's `re` says, and are undecided where more text could change them."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rag.guardrails import patterns

from tests.unit.rag.guardrails.policies import a_policy, cut, streamed, whole

ALPHABET = "aAb1 \n_.é"
ATOMS = ["a", "b", "1", ".", r"\d", r"\w", r"\s", r"\W", "[ab]", "[^a]", r"[\d_]", r"\n", "é", "_"]
PLACES = [r"\b", r"\B", "^", "$", r"\A", r"\Z"]
LOOKS = ["(?={})", "(?!{})", "(?<=a)", "(?<!b)", "(?<=a1)", r"(?=\b{})", "(?!{}$)"]
REPEATS = [
    "{}*",
    "{}+",
    "{}?",
    "{}{{2}}",
    "{}{{1,3}}",
    "{}*?",
    "{}+?",
    "{}{{0,2}}?",
    "{}++",
    "{}*+",
]
GROUPS = ["({})", "(?:{})", "(?i:{})", "(?-i:{})", "(?s:{})", "(?>{})"]


def _joined(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    grouped = st.tuples(st.sampled_from(GROUPS), children).map(lambda x: x[0].format(x[1]))
    repeated = st.tuples(st.sampled_from(REPEATS), st.sampled_from(ATOMS) | grouped)
    return st.one_of(
        st.lists(children, min_size=2, max_size=4).map("".join),
        st.lists(children, min_size=2, max_size=3).map(lambda x: f"(?:{'|'.join(x)})"),
        grouped,
        repeated.map(lambda x: x[0].format(x[1])),
        st.tuples(st.sampled_from(LOOKS), children).map(lambda x: x[0].format(x[1])),
        children.map(lambda x: rf"(?P<g>{x})-?(?P=g)" if "(" not in x else x),
        children.map(lambda x: rf"(?P<h>{x})?b(?(h)a|1)" if "(" not in x else x),
    )


EXPRESSIONS = st.recursive(st.sampled_from(ATOMS + PLACES), _joined, max_leaves=6)
FLAGS = st.sampled_from([0, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.ASCII])


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, int, list[str]]:
    pattern, flags = draw(EXPRESSIONS), draw(FLAGS)
    try:
        re.compile(pattern, flags)
    except re.error:
        pattern = "a"
    return pattern, flags, cut(draw, draw(st.text(ALPHABET, max_size=12)))


def matches(compiled: Any, text: str) -> list[tuple[int, int]]:
    """One after another, each found by a search of its own."""
    found, at = [], 0
    while match := compiled.search(text, at):
        found.append(match.span())
        at = max(match.end(), match.start() + 1)
        if at > len(text):
            break
    return found


@settings(deadline=None)
@given(cases())
def test_a_pattern_matches_what_re_matches(case: tuple[str, int, list[str]]) -> None:
    pattern, flags, pieces = case
    text = "".join(pieces) or "a"  # of nothing at all Python 3.11 has its own opinion about \B
    assert matches(patterns.read(pattern, flags).exact, text) == matches(
        re.compile(pattern, flags), text
    )


@settings(deadline=None)
@given(cases())
def test_a_stream_shows_what_the_whole_text_would(case: tuple[str, int, list[str]]) -> None:
    pattern, flags, pieces = case
    letters = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s", re.ASCII: "a"}
    wanted = f"(?{letters[re.RegexFlag(flags)]}){pattern}" if flags else pattern
    if not patterns.read(wanted).narrowest:
        wanted = "a+b"
    policy = a_policy({"type": "regex", "patterns": [wanted, "b1|1+a"]})
    assert streamed(policy, pieces).text == whole(policy, "".join(pieces)).text


UNDECIDED = [
    r"ab\b", r"a\B", r"a$", r"(?m)a$", r"a\Z", r"ab(?!b)", r"a(?=ba)", r"a(?!b$)", r"a(?=b\b)",
    r"a(?!.*b)", r"a+", r"a+?b", r"a{2,3}", r"ab|aba", r"(?<=a)b", r"(?<!a)b", r"(?m)^b", r"\bb",
    r"(a|b)\1b", r"(a)?b(?(1)a|b)", r"(?>a+)b", r"a++b", r"(?i)AB", r"[^b]|[^a]", r"a[^a]",
    r"a(?=(b)\1)", r"(?:ab)*a", r"a(?<=\b.)", r"(?s)a.b", r"a.b", r"a\s*b", r"(?:a|ab)(?:b|bb)",
    r"a(?!(a|b)\1)[ab]{2}b",
]  # fmt: skip
"""All that can make it matter what comes next."""
SHORT = ["".join(each) for size in range(1, 6) for each in product("ab\n", repeat=size)]


@pytest.mark.parametrize("pattern", UNDECIDED)
def test_of_every_short_text_a_stream_shows_what_re_would_find(pattern: str) -> None:
    """Letter by letter: each cut is tried, since nothing is ever taken back."""
    policy = a_policy({"type": "regex", "patterns": [pattern]})
    for text in SHORT:
        expected = re.sub(pattern, "[REDACTED]", text)
        assert streamed(policy, text).text == expected, text


def test_matches_of_several_patterns_are_one_however_late_the_last_is_known() -> None:
    policy = a_policy({"type": "regex", "patterns": ["aab", "ba+b", "b\n"]})
    assert whole(policy, "aabab").text == "[REDACTED]"
    for text in SHORT:
        assert streamed(policy, text).text == whole(policy, text).text


def test_what_was_forgotten_is_not_taken_for_the_beginning() -> None:
    policy = a_policy({"type": "regex", "patterns": [r"\Ab", "(?<=aab)b", "(?m)^c"]})
    given = ["x" * 5000, "b", "c aab", "b"]
    assert streamed(policy, given).text == "x" * 5000 + "bc aab[REDACTED]"
