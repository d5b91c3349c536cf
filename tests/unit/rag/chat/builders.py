"""Hits, requests and guards with little said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rag.chat import fields
from rag.chat.fields import Asked
from rag.documents import Hit, Source

MESSAGES = [{"role": "user", "content": "Who?"}]


def a_hit(
    text: str = "Ada wrote it.",
    *,
    doc_id: str = "a" * 64,
    position: int = 0,
    source: Source = "both",
    dense_score: float | None = 0.8,
    metadata: Mapping[str, Any] | None = None,
) -> Hit:
    return Hit(
        doc_id=doc_id,
        node_id=f"{doc_id}-{position}",
        position=position,
        start=0,
        end=len(text),
        text=text,
        metadata=metadata or {},
        score=0.9,
        dense_score=dense_score,
        sparse_score=1.5,
        source=source,
    )


def asked(**body: Any) -> Asked:
    return fields.read({"messages": MESSAGES, **body}, max_top_k=300)


@dataclass(frozen=True)
class Shown:
    text: str
    blocked: bool = False


@dataclass
class Held:
    """A stream guard that shows all but the last letters until it must; `~` is blocked, `x`
    becomes `*`."""

    back: int = 2
    held: str = ""

    def feed(self, text: str) -> Shown:
        whole = self.held + text
        if "~" in whole:
            return Shown("blocked", blocked=True)
        shown = whole[: max(0, len(whole) - self.back)]
        self.held = whole[len(shown) :]
        return Shown(shown.replace("x", "*"))

    def end(self) -> Shown:
        shown, self.held = self.held.replace("x", "*"), ""
        return Shown(shown)


class Open:
    """A stream guard that shows everything."""

    def feed(self, text: str) -> Shown:
        return Shown(text)

    def end(self) -> Shown:
        return Shown("")


@dataclass
class Guards:
    """Guardrails by the same rules; without any where they are not active."""

    scanned: list[str] = field(default_factory=list)
    check: Callable[[], None] = lambda: None
    active: bool = True

    async def scan(self, text: str) -> Shown:
        self.scanned.append(text)
        if not self.active:
            return Shown(text)
        return Shown("blocked", blocked=True) if "~" in text else Shown(text.replace("x", "*"))

    def streaming(self) -> Held | Open:
        return Held() if self.active else Open()

    def check_stream(self) -> None:
        self.check()
