"""`kaito chat` against a server that speaks as the API server's proxy before an engine does."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kaito import chat, conversation, exits, proxy
from kaito.chat import Chat
from kaito.conversation import BrokenStreamError, Sampling, Turn
from kube.config import Endpoint

PATH = "/api/v1/namespaces/team/services/falcon:80/proxy"


class Engine:
    """Answers with the words of `says`; remembers what it was asked."""

    def __init__(self) -> None:
        self.says: list[str] = ["Hello", " there", "."]
        self.asked: list[dict] = []
        self.keys: list[str] = []
        self.refuses = ""

    async def models(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("X-Api-Key", ""))
        return web.json_response({"data": [{"id": "falcon-7b"}, {"id": "adapter"}]})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        if self.refuses:
            error = {"error": {"message": self.refuses, "code": 400}}
            return web.json_response(error, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in self.says:
            chunk = {"choices": [{"delta": {"content": word}}]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def talk(engine: Engine) -> AsyncIterator[Chat]:
    app = web.Application()
    app.router.add_get(f"{PATH}/v1/models", engine.models)
    app.router.add_post(f"{PATH}/v1/chat/completions", engine.answer)
    async with TestServer(app) as server:
        where = Endpoint(str(server.make_url("")).rstrip("/"))
        async with proxy.service(where, PATH, "sesame") as service:
            yield Chat(service, "falcon-7b", Sampling(temperature=0.0), system="Be brief.")


async def test_the_conversation_is_remembered_and_the_key_goes_beside_the_clusters(
    talk: Chat, engine: Engine
):
    assert conversation.served(await talk.service.json("/v1/models")) == ["falcon-7b", "adapter"]
    assert engine.keys == ["sesame"]
    out = io.StringIO()
    await talk.say("Hi", out)
    assert out.getvalue() == "Hello there.\n"
    await talk.say("And?", out)
    assert engine.asked[1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there."},
        {"role": "user", "content": "And?"},
    ]
    assert engine.asked[1] | {"messages": []} == {
        "model": "falcon-7b",
        "messages": [],
        "temperature": 0.0,
        "max_tokens": 1024,
        "top_p": 0.9,
        "stream": True,
    }


async def test_a_refusal_is_told_in_the_engines_words_and_forgotten(
    talk: Chat, engine: Engine, capsys: pytest.CaptureFixture[str]
):
    engine.refuses = "the prompt is longer than the context"
    assert await chat._put(talk, "Hi") == exits.NO
    assert capsys.readouterr().err == "error: the prompt is longer than the context\n"
    assert talk.turns == []


async def test_an_error_within_the_stream_is_an_error(talk: Chat, engine: Engine):
    with pytest.raises(BrokenStreamError, match="out of memory"):
        conversation.piece(b'data: {"error": {"message": "out of memory"}}')
    with pytest.raises(BrokenStreamError, match="no JSON"):
        conversation.piece(b"data: {half")
    assert conversation.piece(b": a comment") == ""
    assert conversation.piece(b"data: [DONE]") == ""


def a_chat() -> Chat:
    service = proxy.Service(None, PATH)  # type: ignore[arg-type]
    return Chat(service, "falcon-7b", Sampling(), turns=[Turn("user", "Hi")])


@pytest.mark.parametrize("line", ["/quit", "quit", "exit", "/Exit"])
def test_the_words_that_end_it(line: str):
    assert chat.command(line, a_chat()) is None


def test_commands_are_no_questions():
    talk = a_chat()
    assert chat.command("/status", talk) == [
        "model falcon-7b, 1 messages so far",
        "temperature 0.7, top_p 0.9, at most 1024 tokens",
    ]
    assert chat.command("/clear", talk)
    assert talk.turns == []
    assert chat.command("What is /help?", talk) == []


async def test_lines_of_a_file_are_put_one_by_one(
    talk: Chat, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\n/clear\ntwo\n"))
    assert await asyncio.wait_for(chat._converse(talk, "falcon"), 5) == exits.DONE
    assert [each["messages"][-1]["content"] for each in engine.asked] == ["one", "two"]
    assert len(engine.asked[1]["messages"]) == 2
