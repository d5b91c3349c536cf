"""The images' own packages: they are no part of the distribution."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "images"))

from tests.integration.rag.rag_server_process import PROGRAM, Process, Services, Start, services


@pytest.fixture
async def beside() -> AsyncIterator[Services]:
    async with services() as found:
        yield found


@pytest.fixture
async def start(tmp_path: Path, beside: Services) -> AsyncIterator[Start]:
    running: list[Process] = []

    async def process(*program: str, **environment: str) -> Process:
        urls = {
            "EMBEDDING_TYPE": "remote",
            "REMOTE_EMBEDDING_URL": f"{beside.url}/v1/embeddings",
            "LLM_INFERENCE_URL": f"{beside.url}/v1/chat/completions",
        }
        running.append(await Process.start(tmp_path, program or PROGRAM, **{**urls, **environment}))
        return running[-1]

    yield process
    for each in running:
        await each.close()
