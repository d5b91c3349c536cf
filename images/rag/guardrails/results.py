"""What a scan leaves of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["block", "redact"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one scanner found; never the text itself."""

    scanner: str
    """Its type."""
    action: Action
    count: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a whole text."""

    text: str
    """What may be seen: the text, redacted where it had to be; the policy's message if blocked."""
    blocked: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Released:
    """Of a stream: what may be seen now, after what was before. Once blocked, nothing follows."""

    text: str
    blocked: bool = False
