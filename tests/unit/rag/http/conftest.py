from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from rag.app import create_app
from rag.parts import Parts

from tests.unit.rag.http.fakes import (
    FakeChat,
    FakeEmbedder,
    FakeGuardrails,
    FakeIngester,
    FakeRetriever,
    FakeStore,
    World,
    settings,
)

Make = Callable[..., World]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """A world with these variables in its environment."""
    clients: list[httpx.AsyncClient] = []

    def world(**environment: str) -> World:
        store, chat = FakeStore(), FakeChat()
        ingester, retriever = FakeIngester(store), FakeRetriever(store)
        parts = Parts(
            store, FakeEmbedder(), ingester, retriever, chat, FakeGuardrails(),
            settings(**environment),
        )  # fmt: skip
        transport = httpx.ASGITransport(create_app(parts))
        client = httpx.AsyncClient(transport=transport, base_url="http://rag")
        clients.append(client)
        return World(parts, store, ingester, retriever, chat, client)

    yield world
    for each in clients:
        await each.aclose()


@pytest.fixture
def world(make: Make) -> World:
    return make()
