"""What an app is made of, as its routes see it: an app in a test needs no model and no index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from rag.chat.replies import Reply
from rag.chat.seams import Retriever
from rag.health import Health
from rag.ingest.results import DeleteResult, NewDocument, Progress, UpdateResult
from rag.metrics import Metrics
from rag.protocols import Embedder, Store
from rag.settings import Settings

_CHANGES = 4
"""Indexes that come or go at once. Each holds a thread, for as long as another process holds the
files: what else needs threads must not wait for them."""


class Ingesting(Protocol):
    """rag.ingest.service.Ingester"""

    def put(
        self, name: str, documents: Sequence[NewDocument]
    ) -> AsyncGenerator[Progress, None]: ...

    async def update(self, name: str, documents: Sequence[NewDocument]) -> UpdateResult: ...

    async def delete(self, name: str, doc_ids: Sequence[str]) -> DeleteResult: ...


class Chatting(Protocol):
    """rag.chat.service.Chat"""

    async def complete(self, body: Mapping[str, Any]) -> Reply: ...

    async def close(self) -> None: ...


class Guarding(Protocol):
    """rag.guardrails.guard.Guardrails"""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Each is made before, and closed after, by who makes the app."""

    store: Store
    embedder: Embedder
    ingester: Ingesting
    retriever: Retriever
    chat: Chatting
    guardrails: Guarding
    settings: Settings
    metrics: Metrics = field(default_factory=Metrics)
    health: Health = field(default_factory=Health)
    changing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CHANGES))


async def _parts_of(request: Request) -> Parts:
    found = request.app.state.parts
    assert isinstance(found, Parts)  # noqa: S101  # for mypy
    return found


Used = Annotated[Parts, Depends(_parts_of)]
"""In a route's signature: the parts of the app that it belongs to."""
