"""What the service answers: a document, or a stream of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


async def _nothing() -> None:
    """An iterator that holds nothing open."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; also the inference service's own refusals, with their status."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """Server-sent events, each whole. Whoever takes it calls `close` in the end, read or not:
    that ends the work of the inference service, too."""

    events: AsyncIterator[bytes]
    headers: Mapping[str, str] = field(default_factory=lambda: dict(STREAM_HEADERS))
    close: Callable[[], Awaitable[None]] = _nothing


Reply = Answer | Stream
