"""However an answer is cut into pieces: a stream shows what the whole text would, soon enough."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rag.errors import BadRequestError
from rag.guardrails import patterns, pipeline
from rag.guardrails.deadline import Deadline
from rag.guardrails.spans import Redaction, Rule, Rules, Span, whole_match

from tests.unit.rag.guardrails.policies import a_policy, cut, released, streamed, whole

SCANNERS: dict[str, dict[str, Any]] = {
    "words": {"type": "ban_substrings", "substrings": ["secret", "a b", "C++", "Straße"]},
    "anywhere": {"type": "ban_substrings", "substrings": ["bab", "ab"], "match_type": "str"},
    "case": {"type": "ban_substrings", "substrings": ["Ab"], "case_sensitive": True},
    "secrets": {"type": "secrets"},
    "partial": {"type": "secrets", "redact_mode": "partial"},
    "sensitive": {"type": "sensitive"},
    "email": {"type": "sensitive", "detectors": ["email"]},
    "card": {"type": "sensitive", "detectors": ["credit_card", "phone"]},
    "invisible": {"type": "invisible_text"},
    "addresses": {"type": "regex", "patterns": [r"https?://\S+"]},
    "bounded": {"type": "regex", "patterns": [r"\bx\d{2,4}(?!\d)", r"(?i)begin.{0,5}end$"]},
    "unbounded": {"type": "regex", "patterns": [r"<think>[\s\S]*?</think>", "a.*z"]},
}
WORDS = [
    "secret", "a b", "C++", "ab", "Ab", "bab", "straße", "STRASSE", "ghp_" + "a1B2" * 9, "\u200b",
    'password = "x1y2"', "'", '"', "api_key: ", "me@example.org", "@", "4111 1111 1111 1111",
    "378282246310005", "+1 555 123 4567", "10.0.0.1", "2001:db8::1", "::", "https://a/b", "http",
    "x12", "x12345", "begin", "End", "<think>", "</think>", "a", "z", " ", "  ", "\n", ".", "-",
    "0", "7", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "eyJhbGciOi.eyJzdWIi.c2",
    "é", "AKIAIOSFODNN7EXAMPLE", "://u:p@", '"Zm9vYmFyMTIzNDU2Nzg5MEFCQ0RFRkdISUpLTE1O"', "=",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=10).map("".join)


@st.composite
def pieces(draw: st.DrawFn) -> list[str]:
    return cut(draw, draw(TEXTS))


@pytest.mark.parametrize("name", SCANNERS)
@settings(deadline=None)
@given(given=pieces())
def test_redacted_is_what_would_be_redacted_of_the_whole(name: str, given: list[str]) -> None:
    policy = a_policy(SCANNERS[name])
    assert streamed(policy, given).text == whole(policy, "".join(given)).text


@pytest.mark.parametrize("name", SCANNERS)
@settings(deadline=None)
@given(given=pieces())
def test_nothing_of_what_blocks_comes_out(name: str, given: list[str]) -> None:
    """What came before it may have."""
    blocking, redacting = (
        a_policy(SCANNERS[name], action="block"),
        a_policy(SCANNERS[name]),
    )
    text = "".join(given)
    out = streamed(blocking, given)
    assert out.blocked == whole(blocking, text).blocked
    shown = whole(redacting, text).text
    assert shown.startswith(out.text) if out.blocked else out.text == text


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(SCANNERS)), max_size=4, unique=True), pieces())
def test_scanners_in_a_row_see_what_the_one_before_left(names: list[str], given: list[str]) -> None:
    policy = a_policy(*(SCANNERS[each] for each in names))
    assert streamed(policy, given).text == whole(policy, "".join(given)).text


def test_a_long_stream_is_forgotten_and_still_right() -> None:
    policy = a_policy(SCANNERS["sensitive"], SCANNERS["secrets"], SCANNERS["bounded"])
    text = f"Write to me@example.org, 'quoted' or at x12 {WORDS[8]}; " * 200
    given = [text[at : at + 7] for at in range(0, len(text), 7)]
    assert streamed(policy, given).text == whole(policy, text).text


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        pytest.param("words", "a sentence without any of them ", "", id="nothing looks like one"),
        pytest.param("words", "it is sec", "sec", id="the beginning of a word"),
        pytest.param("addresses", "see https://a", "https://a", id="an address goes on"),
        pytest.param("addresses", "see https://a b", "", id="an address is over"),
        pytest.param("email", "so I wrote", "wrote", id="a word may become an address"),
        pytest.param("card", "in 2026, 12", "12", id="digits may become more"),
        pytest.param("secrets", "The quick fox doesn't jump. Never.", "", id="prose"),
        pytest.param("invisible", "anything", "", id="each character by itself"),
        pytest.param("unbounded", "<think>so", "<think>so", id="until it ends"),
    ],
)
def test_no_more_is_held_back_than_could_be_found(name: str, given: str, held: str) -> None:
    *before, _ = released(a_policy(SCANNERS[name]), list(given))
    shown = given.removesuffix(held).replace("https://a b", "[REDACTED] b")
    assert "".join(each.text for each in before) == shown


def test_who_names_what_two_rules_find_does_not_depend_on_who_is_first() -> None:
    """Of `ab` the one that begins at the a is decided before the one that looks past the b."""
    late = Rule(patterns.read("b(?!c)"), whole_match("late"))
    early = Rule(patterns.read("(?<=a)b"), whole_match("early"))
    grouped = Rule(patterns.read("a(b)"), lambda found: (Span(*found.span(1), "early"),))
    for other in (early, grouped):
        rules = Rules([late, other])
        redaction, deadline = Redaction(rules), Deadline(60)
        pieces = [redaction.feed(each, deadline) for each in "abd"]
        assert "".join(pieces) + redaction.end(deadline) == "alated"


def test_after_what_is_blocked_nothing_comes() -> None:
    policy = a_policy(SCANNERS["words"], action="block", block_message="no")
    first, second, last = released(policy, ["a secret ", "more"])
    assert (first.text, first.blocked) == ("no", True)
    assert (second.text, second.blocked) == ("", True)
    assert last.blocked


@pytest.mark.parametrize(
    "scanner",
    [
        {"type": "ban_substrings", "substrings": ["a", "b"], "contains_all": True},
        {"type": "regex", "patterns": ["a"], "match_type": "fullmatch"},
        {"type": "regex", "patterns": ["a"], "is_blocked": False},
        {"type": "json"},
        {"type": "reading_time", "max_time": 1},
        {"type": "token_limit"},
    ],
    ids=lambda each: each["type"],
)
def test_what_must_see_the_whole_answer_is_named(scanner: dict[str, Any]) -> None:
    policy = a_policy({"type": "invisible_text"}, scanner)
    with pytest.raises(BadRequestError, match=f"it has {scanner['type']}, which"):
        pipeline.check_stream(policy)


def test_all_others_can_be_kept_to_in_streams() -> None:
    pipeline.check_stream(a_policy(*SCANNERS.values()))
