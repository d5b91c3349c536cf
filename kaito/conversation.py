"""A chat as OpenAI's API has it: what is sent, and what comes back piece by piece. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DATA = b"data:"
DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model picks its words; the Go plugin's defaults."""

    temperature: float = 0.7
    max_tokens: int = 1024
    top_p: float = 0.9


@dataclass(frozen=True, slots=True)
class Turn:
    """One message."""

    role: str
    content: str


class BrokenStreamError(ValueError):
    """The model's server sent an error, or something that is no chunk, within an answer."""


def body(model: str, turns: Sequence[Turn], sampling: Sampling) -> bytes:
    """Of POST /v1/chat/completions, to be answered piece by piece."""
    document: dict[str, Any] = {
        "model": model,
        "messages": [{"role": each.role, "content": each.content} for each in turns],
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "top_p": sampling.top_p,
        "stream": True,
    }
    return json.dumps(document).encode()


def piece(line: bytes) -> str:
    """The text that a line of the stream brings; "" where it brings none.

    Raises BrokenStreamError with what the server says.
    """
    if not line.startswith(DATA):
        return ""
    payload = line.removeprefix(DATA).strip()
    if not payload or payload == DONE:
        return ""
    try:
        chunk = json.loads(payload)
    except ValueError as error:
        raise BrokenStreamError(f"no JSON in the stream: {payload[:200]!r}") from error
    if not isinstance(chunk, dict):
        raise BrokenStreamError(f"no chunk in the stream: {payload[:200]!r}")
    if "error" in chunk:
        raise BrokenStreamError(reason(chunk))
    choices = chunk.get("choices") or [{}]
    return str((choices[0].get("delta") or {}).get("content") or "")


def reason(document: Any) -> str:
    """What an error of OpenAI's form says, whichever of its two forms it has."""
    error = document.get("error", document) if isinstance(document, dict) else document
    return str(error.get("message", error) if isinstance(error, dict) else error)


def served(document: Any) -> list[str]:
    """The names that GET /v1/models lists, the model itself before its adapters."""
    entries = document.get("data") if isinstance(document, dict) else None
    return [str(each["id"]) for each in entries or () if isinstance(each, dict) and "id" in each]
