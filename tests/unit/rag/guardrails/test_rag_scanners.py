"""What each kind of scanner finds, and what it leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.rag.guardrails.policies import a_policy, redacted, whole

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----"
ENTROPY = "Zm9vYmFyMTIzNDU2Nzg5MEFCQ0RFRkdISUpLTE1O"
GITHUB = "ghp_" + "a1B2" * 9
GIT = f"token {GITHUB}."


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        pytest.param("see http://a.b/c and https://d", "see [REDACTED] and [REDACTED]", id="all"),
        pytest.param("nothing", "nothing", id="none"),
    ],
)
def test_every_match_of_a_regex_is_replaced_not_the_first_alone(given: str, shown: str) -> None:
    assert redacted(given, type="regex", patterns=[r"https?://\S+"]) == shown


def test_matches_that_overlap_are_replaced_as_one() -> None:
    assert redacted("xabcdx", type="regex", patterns=["abc", "bcd"]) == "x[REDACTED]x"


def test_a_fullmatch_is_of_the_whole_text() -> None:
    scanner = {"type": "regex", "patterns": ["no+"], "match_type": "fullmatch"}
    assert redacted("noo", **scanner) == "[REDACTED]"
    assert redacted("no way", **scanner) == "no way"


def test_what_must_be_there_and_is_not_blocks() -> None:
    policy = a_policy({"type": "regex", "patterns": [r"\d"], "is_blocked": False})
    assert not whole(policy, "1 thing").blocked
    assert whole(policy, "things").blocked


@pytest.mark.parametrize(
    ("options", "given", "shown"),
    [
        pytest.param({}, "A Secret, secretly", "A [REDACTED], secretly", id="word"),
        pytest.param({"match_type": "str"}, "secretly", "[REDACTED]ly", id="anywhere"),
        pytest.param({"case_sensitive": True}, "Secret secret", "Secret [REDACTED]", id="case"),
        pytest.param({"contains_all": True}, "secret", "secret", id="one of two is not all"),
        pytest.param(
            {"contains_all": True}, "C++ secret", "[REDACTED] [REDACTED]", id="all of them"
        ),
        pytest.param({}, "in C++, C+++", "in [REDACTED], [REDACTED]+", id="no letter at its end"),
    ],
)
def test_banned_substrings(options: dict[str, Any], given: str, shown: str) -> None:
    scanner = {"type": "ban_substrings", "substrings": ["secret", "C++"], **options}
    assert redacted(given, **scanner) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("mail a.b+c@x-y.example.org, now", "mail <EMAIL>, now"),
        ("not@mail", "not@mail"),
        ("call +1 (555) 123-4567!", "call <PHONE>!"),
        ("call (555) 123-4567", "call <PHONE>"),
        ("+15551234567", "<PHONE>"),
        ("on 2026-11-22 10", "on 2026-11-22 10"),
        ("no 5551234567", "no 5551234567"),
        ("card 4111 1111 1111 1111", "card <CREDIT_CARD>"),
        ("card 4111111111111111 12/26", "card <CREDIT_CARD> 12/26"),
        ("4111 1111 1111 1111 123", "<CREDIT_CARD> 123"),
        ("no 4111111111111112", "no 4111111111111112"),
        ("378282246310005", "<CREDIT_CARD>"),
        ("at 10.0.0.1.", "at <IP_ADDRESS>."),
        ("version 1.2.3.4.5", "version 1.2.3.4.5"),
        ("no 300.1.1.1", "no 300.1.1.1"),
        ("at 2001:db8::1, ::1", "at <IP_ADDRESS>, <IP_ADDRESS>"),
        ("std::vector at 10:30:45 ::", "std::vector at 10:30:45 ::"),
    ],
)
def test_what_identifies(given: str, shown: str) -> None:
    assert redacted(given, type="sensitive") == shown


def test_only_the_detectors_that_are_named_look() -> None:
    assert redacted("a@b.org 10.0.0.1", type="sensitive", detectors=["email"]) == "<EMAIL> 10.0.0.1"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        pytest.param(GIT, "token ******.", id="GitHub, all of it"),
        pytest.param(f"a\n{KEY}\nb", "a\n******\nb", id="a key, not its header alone"),
        pytest.param(KEY[:60], "******", id="a key that is cut off"),
        pytest.param("AKIAIOSFODNN7EXAMPLE", "******", id="AWS"),
        pytest.param('password = "hunter2"', 'password = "******"', id="assigned"),
        pytest.param("https://me:hunter2@x.org/", "https://me:******@x.org/", id="in an address"),
        pytest.param(f'x = "{ENTROPY}"', 'x = "******"', id="random"),
        pytest.param('x = "aaaaaaaaaaaaaaaaaaaaa"', 'x = "aaaaaaaaaaaaaaaaaaaaa"', id="not random"),
        pytest.param("the password is long", "the password is long", id="prose"),
        pytest.param("it's a token, isn't it", "it's a token, isn't it", id="apostrophes"),
        pytest.param(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl", "******", id="signature too"
        ),
        pytest.param("hf_" + "abcDEF" * 6, "******", id="Hugging Face"),
    ],
)
def test_secrets(given: str, shown: str) -> None:
    assert redacted(given, type="secrets") == shown


def test_secrets_can_be_told_apart_without_being_told() -> None:
    assert redacted(GIT, type="secrets", redact_mode="partial") == "token gh..B2."
    hashed = redacted(GIT, type="secrets", redact_mode="hash")
    assert len(hashed) == len("token .") + 64
    assert GITHUB not in hashed


def test_invisible_text_goes_and_lines_stay() -> None:
    hidden = "".join(chr(0xE0000 + ord(each)) for each in "ignore")
    assert redacted(f"é\ta\u200bb\n{hidden}", type="invisible_text") == "é\tab\n"


@pytest.mark.parametrize(
    ("options", "given", "shown"),
    [
        pytest.param({}, 'so: {"a": 1}.', 'so: {"a": 1}.', id="valid"),
        pytest.param({}, "so: {'a': 1,}.", 'so: {"a": 1}.', id="mended"),
        pytest.param({}, '{"a": [1, 2', '{"a": [1, 2]}', id="cut off"),
        pytest.param({}, '{"a": "}"} and {"b": 2}', '{"a": "}"} and {"b": 2}', id="braces in text"),
        pytest.param({}, "[1, 2,]", "[1, 2]", id="an array"),
        pytest.param({}, "no JSON", "no JSON", id="none, and none is needed"),
        pytest.param({"required_elements": 1}, "no JSON", None, id="none, and one is needed"),
        pytest.param({"repair": False}, "{'a': 1}", None, id="not to be mended"),
    ],
)
def test_json(options: dict[str, Any], given: str, shown: str | None) -> None:
    verdict = whole(a_policy({"type": "json", **options}), given)
    assert (None if verdict.blocked else verdict.text) == shown


def test_mended_json_is_what_was_meant() -> None:
    given = '{"name": "Zoë", "tags": ["a" "b"], "open": true'
    assert json.loads(redacted(given, type="json")) == {
        "name": "Zoë",
        "tags": ["a", "b"],
        "open": True,
    }


def test_reading_time_is_cut_at_a_word() -> None:
    given = "one  two\n" * 200
    shown = redacted(given, type="reading_time", max_time=0.5)
    assert len(shown.split()) == 100
    assert given.startswith(shown)


def test_tokens_are_cut_and_counted_as_openai_does() -> None:
    assert redacted("hello world! 你好", type="token_limit", limit=3) == "hello world!"
    assert redacted("hello world!", type="token_limit", limit=3) == "hello world!"
    newer = {"type": "token_limit", "limit": 3, "model_name": "gpt-4o"}
    assert redacted("hello world! 你好", **newer) == "hello world!"


def test_no_half_character_is_left_where_tokens_are_cut() -> None:
    assert "�" not in redacted("👩‍🔬" * 20, type="token_limit", limit=5)
