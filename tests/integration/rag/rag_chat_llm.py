"""An inference service on the loopback address that answers as a test tells it to, and a retriever
whose indexes are lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from rag.chat.replies import Answer, Stream
from rag.chat.service import Chat
from rag.chat.settings import ChatSettings
from rag.documents import Hit, Metadata, Mode
from rag.errors import UnknownIndexError

from tests.unit.rag.chat.builders import Guards, a_hit

Body = dict[str, Any]
Answering = Callable[[web.Request, Body], Awaitable[web.StreamResponse]]


def completion(body: Body, content: str | None = "Ada [2].", **more: Any) -> Body:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **more}}
    return {
        "id": "chatcmpl-7", "object": "chat.completion", "created": 1, "model": body.get("model"),
        "choices": [{**choice, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }  # fmt: skip


def piece(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> Body:
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish, "logprobs": None}
    return {
        "id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [choice], **more,
    }  # fmt: skip


async def answers(_: web.Request, body: Body) -> web.StreamResponse:
    return web.json_response(completion(body))


def says(status: int, document: object, headers: Mapping[str, str] | None = None) -> Answering:
    async def answer(_: web.Request, __: Body) -> web.StreamResponse:
        text = document if isinstance(document, str) else json.dumps(document)
        return web.Response(status=status, text=text, headers=headers)

    return answer


async def begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


def streams(*events: Body | str, cut: bool = False) -> Answering:
    """`cut`: the connection is gone before the answer has its end."""

    async def answer(request: web.Request, _: Body) -> web.StreamResponse:
        response = await begin(request)
        for each in events:
            text = each if isinstance(each, str) else json.dumps(each)
            await response.write(f"data: {text}\n\n".encode())
        if cut:
            assert request.transport is not None
            request.transport.close()
        return response

    return answer


@dataclass
class FakeLlm:
    answering: Answering = answers
    models: Sequence[Body] = ({"id": "base", "max_model_len": 8_000}, {"id": "adapter"})
    dialect: str = "vllm"
    """Of /tokenize: vllm, llama, or none. A word is a token."""
    asked: list[Body] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    listed: int = 0
    counted: list[str] = field(default_factory=list)
    refused: int = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(request.headers)
        return await self.answering(request, body)

    async def list_models(self, _: web.Request) -> web.Response:
        self.listed += 1
        if not self.models:
            return web.Response(status=500)
        return web.json_response({"object": "list", "data": list(self.models)})

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.dialect == "none":
            self.refused += 1
            return web.json_response({"detail": "Not Found"}, status=404)
        text = body.get("prompt" if self.dialect == "vllm" else "content", "")
        if text:
            self.counted.append(text)
        tokens = list(range(len(text.split())))
        more = {"count": len(tokens), "max_model_len": 8_000} if self.dialect == "vllm" else {}
        return web.json_response({"tokens": tokens, **more})

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.list_models)
        app.router.add_post("/tokenize", self.tokenize)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield f"http://127.0.0.1:{port}/v1/chat/completions"
        finally:
            await runner.cleanup()


@dataclass(frozen=True)
class Retrieved:
    hits: Sequence[Hit]
    timings: Mapping[str, float] = field(default_factory=lambda: {"embed": 0.0015, "search": 0.002})


@dataclass
class FakeRetriever:
    indexes: Mapping[str, Sequence[Hit]] = field(
        default_factory=lambda: {"a": [a_hit("Bob was first."), a_hit("Ada was.", position=1)]}
    )
    asked: list[tuple[str, str, int, Mode, Metadata | None]] = field(default_factory=list)

    async def check(self, name: str) -> None:
        await asyncio.sleep(0)
        if name not in self.indexes:
            raise UnknownIndexError(name)

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
        await self.check(name)
        self.asked.append((name, text, top_k, mode, metadata_filter))
        return Retrieved(self.indexes[name][:top_k])


@dataclass
class Talk:
    """A chat with its fakes."""

    chat: Chat
    llm: FakeLlm
    retriever: FakeRetriever
    guards: Guards

    async def whole(self, **body: Any) -> Answer:
        reply = await self.chat.complete({"messages": question(), **body})
        assert isinstance(reply, Answer)
        return reply

    async def stream(self, **body: Any) -> Stream:
        reply = await self.chat.complete({"messages": question(), "stream": True, **body})
        assert isinstance(reply, Stream)
        return reply

    async def events(self, **body: Any) -> list[str]:
        """What each event holds."""
        stream = await self.stream(**body)
        text = b"".join([each async for each in stream.events]).decode()
        await stream.close()
        assert text.endswith("\n\n") or not text
        return [each.removeprefix("data: ") for each in text.split("\n\n") if each]


def question(text: str = "Who?") -> list[Body]:
    return [{"role": "user", "content": text}]


@asynccontextmanager
async def talk(
    llm: FakeLlm | None = None,
    *,
    retriever: FakeRetriever | None = None,
    guards: Guards | None = None,
    **settings: Any,
) -> AsyncIterator[Talk]:
    llm, retriever = llm or FakeLlm(), retriever or FakeRetriever()
    guards = guards or Guards(active=False)
    async with llm.serve() as url:
        chat = Chat(retriever, ChatSettings(**{"url": url, **settings}), guards)
        try:
            yield Talk(chat, llm, retriever, guards)
        finally:
            await chat.close()
