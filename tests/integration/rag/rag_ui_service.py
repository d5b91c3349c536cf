"""The service with real files, searches and chats behind its page; only the models are made up."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from aiohttp import web
from rag.app import create_app
from rag.chat.service import Chat
from rag.chat.settings import ChatSettings
from rag.documents import PROBE, IndexSpec, Vectors
from rag.ingest.service import Ingester
from rag.ingest.settings import IngestSettings
from rag.parts import Parts
from rag.retrieval import Retrieved, Retriever
from rag.storage.settings import StorageSettings
from rag.storage.store import LocalStore
from rag_chat_llm import Body, FakeLlm, begin, piece

from tests.unit.rag.chat.builders import Guards
from tests.unit.rag.http.fakes import FakeGuardrails, settings

DIMENSION = 64
HELD = "wait for it"
"""A document with these words is embedded once the test says so."""


class Gate:
    """Opened by the test's thread, waited for on the service's loop."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        assert await asyncio.to_thread(self._open.wait, 30)


class WordEmbedder:
    """Texts with the same words are near each other."""

    model, dimension = "words", DIMENSION
    directory, max_tokens = None, 0

    def __init__(self) -> None:
        self.gate = Gate()

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if any(HELD in each for each in texts):
            await self.gate.passed()
        return vectors(texts)

    async def embed_query(self, text: str) -> Vectors:
        return vector(text)

    async def close(self) -> None: ...


def vector(text: str) -> Vectors:
    found = np.full(DIMENSION, 0.01, np.float32)
    for word in re.findall(r"\w+", text.lower()):
        found[hashlib.sha256(word.encode()).digest()[0] % DIMENSION] += 1
    return np.asarray(found / np.linalg.norm(found), np.float32)


def vectors(texts: Sequence[str]) -> Vectors:
    rows = [vector(each) for each in texts]
    return np.stack(rows) if rows else np.empty((0, DIMENSION), np.float32)


class Remembering:
    """What a retriever was asked."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self.asked: list[dict[str, Any]] = []

    async def check(self, name: str) -> None:
        await self._retriever.check(name)

    async def retrieve(self, name: str, text: str, **more: Any) -> Retrieved:
        self.asked.append({"name": name, "text": text, **more})
        return await self._retriever.retrieve(name, text, **more)


@dataclass
class Teller:
    """Says the first pieces, waits for the gate, and says the others. `*` in a piece: it breaks
    off there."""

    pieces: tuple[str, ...] = ("Ada ", "wrote it [1].")
    gate: Gate = field(default_factory=Gate)
    gone: threading.Event = field(default_factory=threading.Event)
    """Whoever asked does not wait any longer."""

    async def __call__(self, request: web.Request, _: Body) -> web.StreamResponse:
        response = await begin(request)
        try:
            for at, each in enumerate(self.pieces):
                if at == 1:
                    await self.gate.passed()
                if each == "*":
                    assert request.transport is not None
                    request.transport.close()
                    return response
                event = json.dumps(piece({"content": each}))
                await response.write(f"data: {event}\n\n".encode())
            event = json.dumps(piece({}, "stop"))
            await response.write(f"data: {event}\n\ndata: [DONE]\n\n".encode())
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise
        return response


@dataclass
class Service:
    address: str
    embedder: WordEmbedder
    teller: Teller
    llm: FakeLlm
    retriever: Remembering


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[Service]:
    """In a thread of its own. API keys are asked once there is a directory `keys`."""
    listening = socket.create_server(("127.0.0.1", 0))
    embedder, teller = WordEmbedder(), Teller()
    llm = FakeLlm(teller)
    ready: list[Service | BaseException] = []
    told = threading.Event()
    stopping: list[uvicorn.Server] = []

    async def run() -> None:
        spec = IndexSpec(embedder.model, DIMENSION, tuple(map(float, vector(PROBE))))
        store = await asyncio.to_thread(
            LocalStore.open,
            StorageSettings(directory / "files", sync=False, poll=0.02),
            spec,
            vectors,
        )
        retriever = Remembering(Retriever(store, embedder))
        async with llm.serve() as url:
            chat = Chat(retriever, ChatSettings(url=url), Guards(active=False))
            own = settings(KAITO_API_KEYS_DIR=str(directory / "keys"))
            ingester = Ingester(store, embedder, IngestSettings(group_documents=1))
            parts = Parts(store, embedder, ingester, retriever, chat, FakeGuardrails(), own)
            config = uvicorn.Config(
                create_app(parts), lifespan="off", log_level="warning", ws="none",
                timeout_graceful_shutdown=1,
            )  # fmt: skip
            server = uvicorn.Server(config)
            stopping.append(server)
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            ready.append(Service(address, embedder, teller, llm, retriever))
            told.set()
            await server.serve(sockets=[listening])
            await chat.close()
        await asyncio.to_thread(store.close)

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            ready.append(error)
            raise
        finally:
            told.set()

    running = threading.Thread(target=thread, name="service")
    running.start()
    assert told.wait(30)
    try:
        assert isinstance(ready[0], Service)
        yield ready[0]
    finally:
        embedder.gate.open()
        teller.gate.open()
        for each in stopping:
            each.should_exit = True
        running.join(30)
        assert not running.is_alive()
