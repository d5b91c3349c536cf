"""Policies, and texts through them: whole, and in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import yaml
from hypothesis import strategies as st
from rag.guardrails import pipeline, policy
from rag.guardrails.policy import Policy
from rag.guardrails.results import Released, Verdict

SECONDS = 60.0
"""For a scan; none of these tests is about time."""


def a_policy(*scanners: dict[str, Any], **top: Any) -> Policy:
    return _read(yaml.safe_dump({**top, "scanners": list(scanners)}).encode())


@lru_cache
def _read(text: bytes) -> Policy:
    return policy.read(text)


def whole(wanted: Policy, text: str) -> Verdict:
    return pipeline.scan(wanted, text, SECONDS)


def redacted(text: str, **scanner: Any) -> str:
    verdict = whole(a_policy(scanner), text)
    assert not verdict.blocked
    return verdict.text


def released(wanted: Policy, pieces: Sequence[str]) -> Iterator[Released]:
    """What each piece lets go, and the end."""
    stream = pipeline.Stream(wanted, SECONDS, lambda _: None)
    for piece in pieces:
        yield stream.feed(piece)
    yield stream.end()


def streamed(wanted: Policy, pieces: Sequence[str]) -> Verdict:
    """Put together as a client would see it."""
    text = ""
    for each in released(wanted, pieces):
        if each.blocked:
            return Verdict(text, blocked=True)
        text += each.text
    return Verdict(text)


def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Any way to cut it."""
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=len(text))))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
