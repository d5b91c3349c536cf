"""A policy is read whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from rag.guardrails import policy
from rag.guardrails.errors import PolicyError, ScanError
from rag.guardrails.pipeline import scan

from tests.unit.rag.guardrails.policies import a_policy, whole

UPSTREAM = b"""
action: redact
blockMessage: The model output was blocked by output guardrails.
scanners:
  - type: regex
    patterns:
      - 'https?://\\S+'
  - type: ban_substrings
    substrings:
      - secret
"""


def test_upstreams_default_policy_holds() -> None:
    found = policy.read(UPSTREAM)
    assert whole(found, "a secret at https://x.org").text == "a [REDACTED] at [REDACTED]"


@pytest.mark.parametrize("key", ["blockMessage", "block-message", "block_message"])
def test_keys_may_be_written_three_ways(key: str) -> None:
    scanner = {"type": "banSubstrings", "match-type": "str", "caseSensitive": True}
    found = a_policy({**scanner, "substrings": ["x"]}, **{key: "no", "action": "BLOCK"})
    assert whole(found, "ax").text == "no"
    assert not whole(found, "aX").blocked


def test_what_is_not_said_is_upstreams() -> None:
    found = policy.read(b"scanners: []")
    assert (found.action, found.guards) == ("redact", ())
    assert found.block_message == "The model output was blocked by output guardrails."


def test_a_scanner_may_have_an_action_of_its_own() -> None:
    found = a_policy(
        {"type": "ban_substrings", "substrings": ["a"]},
        {"type": "ban_substrings", "substrings": ["b"], "action": "block"},
    )
    assert whole(found, "a").text == "[REDACTED]"
    verdict = whole(found, "a b")
    assert verdict.blocked
    assert [(each.scanner, each.action) for each in verdict.findings] == [
        ("ban_substrings", "redact"),
        ("ban_substrings", "block"),
    ]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        pytest.param(b"", "must have `scanners`", id="empty"),
        pytest.param(b"- a", "must have `scanners`", id="a list"),
        pytest.param(b"a: [", "is not YAML", id="no YAML"),
        pytest.param(b"a: !!python/object:os.system {}", "is not YAML", id="code"),
        pytest.param(b"action: block", "scanners must be a list", id="no scanners"),
        pytest.param(b"scaners: []\nscanners: []", "unknown: scaners", id="misspelt"),
        pytest.param(b"scanners: []\naction: drop", "redact, block, not 'drop'", id="action"),
        pytest.param(b"scanners: [{type: x}]", r"scanners\[0\]: type must be one of", id="type"),
        pytest.param(b"scanners: [a]", r"scanners\[0\]: must have `type`", id="no entry"),
        pytest.param(b"scanners: []\nblock-message: a\nblockMessage: b", "given twice", id="twice"),
        pytest.param(b"#" * (1 << 20) + b"#", "larger than 1 MiB", id="large"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_reason(given: bytes, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        policy.read(given)


@pytest.mark.parametrize(
    ("scanner", "why"),
    [
        ({"type": "regex"}, "patterns must be a list"),
        ({"type": "regex", "patterns": []}, "with one at least"),
        ({"type": "regex", "patterns": ["("]}, r"'\(' is not a valid regular expression"),
        ({"type": "regex", "patterns": ["a", 1]}, "has 1, which is not a string"),
        ({"type": "regex", "patterns": ["a*"]}, r"'a\*', which matches where nothing is"),
        ({"type": "regex", "patterns": ["a"], "match_type": "most"}, "search, all, fullmatch"),
        ({"type": "regex", "patterns": ["a"], "pattern": "b"}, "unknown: pattern"),
        ({"type": "ban_substrings", "substrings": "a"}, "must be a list of strings"),
        ({"type": "ban_substrings", "substrings": ["a"], "contains_all": "no"}, "true or false"),
        ({"type": "json", "required_elements": -1}, "whole number of 0 or more"),
        ({"type": "json", "required_elements": True}, "whole number"),
        ({"type": "reading_time"}, "max_time must be a number above 0"),
        ({"type": "secrets", "redact_mode": "none"}, "all, partial, hash"),
        ({"type": "sensitive", "detectors": ["email", "iban"]}, "has 'iban'"),
        ({"type": "token_limit", "limit": 0}, "whole number of 1 or more"),
        ({"type": "token_limit", "encoding_name": "x"}, "tiktoken does not know"),
        ({"type": "token_limit", "model_name": "llama"}, "tiktoken does not know"),
        ({"type": "invisible_text", "action": "hide"}, "action must be one of"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_entry_that_does_not_fit_voids_the_policy(scanner: dict[str, Any], why: str) -> None:
    built = []
    given = {"scanners": [{"type": "secrets"}, scanner]}
    with pytest.raises(PolicyError, match=rf"scanners\[1\] \({scanner['type']}\): .*{why}"):
        policy.read(str(given).encode(), lambda *each: built.append(each))
    assert built == [("secrets", True), (scanner["type"], False)]


def test_a_pattern_that_takes_forever_is_given_up() -> None:
    found = a_policy({"type": "regex", "patterns": ["(?:a|aa)+b$"]})
    with pytest.raises(ScanError) as caught:
        scan(found, "a" * 80, 0.05)
    assert (caught.value.status, caught.value.detail) == (
        500,
        "Output guardrails failed while scanning the model response.",
    )
