"""The service as a process, and what it needs beside it: an embedder and a model, on the loopback
address, neither of which knows anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
from aiohttp import web
from rag.documents import PROBE

ROOT = Path(__file__).parents[3]
PROGRAM = (sys.executable, "-m", "rag")
DIMENSION = 64


def vector(text: str, model: str = "tiny") -> list[float]:
    """Texts that share words are near, of one model; two models have nothing in common."""
    found = [0.01] * DIMENSION
    for word in re.findall(r"\w+", text.lower()):
        found[zlib.crc32(f"{model} {word}".encode()) % DIMENSION] += 1.0
    return found


@dataclass
class Services:
    """OpenAI's embeddings and chat completions."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Chats."""
    embedded: list[tuple[str, str]] = field(default_factory=list)
    """Models, and the texts that they embedded."""
    down: bool = False
    """Nothing is embedded."""
    left: int = 0
    """Chats that were not waited for."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """By model: what it is asked waits for them; its own start does not."""

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.down:
            raise web.HTTPServiceUnavailable
        given = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if PROBE not in given:
            await self._pass(body["model"])
        self.embedded += [(body["model"], text) for text in given]
        data = [
            {"object": "embedding", "index": at, "embedding": vector(text, body["model"])}
            for at, text in enumerate(given)
        ]
        return web.json_response({"object": "list", "data": data, "model": body.get("model")})

    async def _pass(self, model: str) -> None:
        if model in self.gates:
            await self.gates[model].wait()

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        try:
            await self._pass(body["model"])
        except asyncio.CancelledError:
            self.left += 1
            raise
        if body.get("stream"):
            return await self._stream(request)
        message = {"role": "assistant", "content": "It is so [1]."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        known = {"id": "c1", "object": "chat.completion", "created": 1, "model": "tiny"}
        return web.json_response({**known, "choices": [choice], "usage": usage})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for text in ("It ", "is ", "so."):
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            known = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
            event = json.dumps({**known, "choices": [choice]})
            await response.write(f"data: {event}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def services() -> AsyncIterator[Services]:
    found = Services()
    app = web.Application()
    app.router.add_post("/v1/embeddings", found.embeddings)
    app.router.add_get("/v1/models", found.models)
    app.router.add_post("/v1/chat/completions", found.chat)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


class Start(Protocol):
    """Each in the same directory."""

    async def __call__(self, *program: str, **environment: str) -> Process: ...


class Process:
    """`python -m rag`, and what it writes to its log."""

    def __init__(self, program: asyncio.subprocess.Process) -> None:
        self.program = program
        self.log: list[str] = []
        self.client = httpx.AsyncClient()

    @classmethod
    async def start(
        cls, directory: Path, program: Sequence[str | Path] = PROGRAM, **environment: str
    ) -> Process:
        own = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'images'}{os.pathsep}{ROOT}",
            "HOME": str(directory),
            "RAG_HOST": "127.0.0.1",
            "RAG_PORT": "0",
            "RAG_STOP_DELAY_SECONDS": "0",
            "KAITO_API_KEYS_DIR": str(directory / "no-keys"),
            "DEFAULT_VECTOR_DB_PERSIST_DIR": str(directory / "data"),
            "OMP_NUM_THREADS": "1",
        }
        return cls(
            await asyncio.create_subprocess_exec(
                *program,
                env={**own, **environment},
                stderr=asyncio.subprocess.PIPE,
            )
        )

    async def until(self, text: str) -> str:
        """The line of the log that has it."""
        assert self.program.stderr is not None
        async with asyncio.timeout(60):
            while line := (await self.program.stderr.readline()).decode():
                self.log.append(line)
                if text in line:
                    return line
        raise AssertionError("".join(self.log))

    async def listens(self) -> None:
        line = await self.until("listening on ")
        address = line.rpartition("listening on ")[2].strip()
        self.client = httpx.AsyncClient(base_url=f"http://{address}", timeout=30)

    async def ready(self) -> None:
        await self.listens()
        await self.until("ready")

    async def ask(self, line: str, body: Any = None, **more: Any) -> httpx.Response:
        method, _, path = line.partition(" ")
        return await self.client.request(method, path, json=body, **more)

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(60):
            _, rest = await self.program.communicate()
        self.log += rest.decode().splitlines(keepends=True)
        return self.program.returncode or 0

    async def stop(self) -> int:
        self.program.send_signal(signal.SIGTERM)
        return await self.ended()

    async def close(self) -> None:
        await self.client.aclose()
        with contextlib.suppress(ProcessLookupError):
            self.program.kill()
        await self.program.wait()
