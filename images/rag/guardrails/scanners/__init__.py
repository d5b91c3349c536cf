"""The kinds of scanners that a policy can name, by the names that upstream gave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from rag.guardrails.options import Options
from rag.guardrails.scanners import (
    invisible,
    limits,
    regexes,
    secrets,
    sensitive,
    structured,
    substrings,
)
from rag.guardrails.scanners.scanner import Scanner

KINDS: Final[Mapping[str, Callable[[Options], Scanner]]] = {
    "regex": regexes.build,
    "ban_substrings": substrings.build,
    "json": structured.build,
    "reading_time": limits.reading_time,
    "secrets": secrets.build,
    "sensitive": sensitive.build,
    "invisible_text": invisible.build,
    "token_limit": limits.token_limit,
}
"""Each takes its options out of an entry of the policy, and raises PolicyError where they do not
fit."""
