"""What is waited for at the start: services, and no model of our own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from rag import __main__ as program
from rag import settings
from rag.errors import ModelError
from rag.health import Health
from rag.metrics import Metrics
from rag.wiring import Start

from tests.unit.rag.embedding.fake_service import FakeService


async def test_a_reranker_that_cannot_be_loaded_beside_a_remote_embedder(tmp_path: Path) -> None:
    service = FakeService()
    async with service.running(), AsyncExitStack() as closing:
        wanted = settings.read(
            {
                "EMBEDDING_SOURCE_TYPE": "remote",
                "REMOTE_EMBEDDING_URL": service.url,
                "RAG_RERANKER_MODEL": f"{tmp_path}/none",
                "DEFAULT_VECTOR_DB_PERSIST_DIR": str(tmp_path),
            }
        )
        start = Start(Health("starting"), Metrics(), lambda: None)
        work = program._patiently(wanted, start, closing)
        with pytest.raises(ModelError, match=f"{tmp_path}/none has no config.json"):
            await asyncio.wait_for(work, 5)
