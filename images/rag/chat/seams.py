"""How chats see the rest of the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rag.documents import Hit, Metadata, Mode


class Retrieved(Protocol):
    @property
    def hits(self) -> Sequence[Hit]: ...

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds by name: embed, search, rerank."""
        ...


class Retriever(Protocol):
    async def check(self, name: str) -> None:
        """Raises UnknownIndexError, NotReadyError."""
        ...

    async def retrieve(
        self,
        name: str,
        text: str,
        *,
        top_k: int,
        mode: Mode = "hybrid",
        metadata_filter: Metadata | None = None,
        rerank: bool = False,
    ) -> Retrieved:
        """Best first. Raises UnknownIndexError, NotReadyError, EmbedderError."""
        ...


class Shown(Protocol):
    """What a scan leaves of a text: it, redacted where it had to be; the block message where the
    policy blocks it."""

    @property
    def text(self) -> str: ...

    @property
    def blocked(self) -> bool: ...


class StreamGuard(Protocol):
    """Of one text that comes in pieces. What could still become a finding is held back."""

    def feed(self, text: str) -> Shown: ...

    def end(self) -> Shown: ...


class Guardrails(Protocol):
    async def scan(self, text: str) -> Shown: ...

    def streaming(self) -> StreamGuard: ...

    def check_stream(self) -> None:
        """Raises BadRequestError where the policy cannot hold for streams."""
        ...
