"""Chats with a real model behind them, and with OpenAI's own client before them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rag.chat.counting import FileTokenizer, ServerTokenizer
from rag.chat.endpoint import endpoint
from rag.chat.llm import Llm
from rag.chat.replies import Answer, Stream
from rag.chat.service import Chat
from rag.chat.settings import ChatSettings
from rag.chat.tokens import estimate

from localcluster import paths
from localcluster.models import Models
from tests.engines.conftest import Engine
from tests.engines.serving.conftest import KEY, Server, Start
from tests.integration.rag.rag_chat_llm import FakeLlm, FakeRetriever, piece, streams, talk
from tests.unit.rag.chat.builders import Guards, a_hit

LLAMA = "images/serving/llamacpp/requirements.lock"
WITH_OPENAI = "images/serving/vllm/requirements-cpu.lock"
PROSE = Path(__file__).parents[3] / "docs/images.md"
CLIENT = """
import json, sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
asked = {"model": "m", "messages": [{"role": "user", "content": "Who?"}]}
index = {"index_name": "a", "context_token_ratio": 0.4}
whole = client.chat.completions.create(**asked, extra_body=index)
print(json.dumps([whole.choices[0].message.content, whole.citations, len(whole.source_nodes)]))
with client.chat.completions.stream(**asked, extra_body=index) as stream:
    pieces = [event.chunk for event in stream if event.type == "chunk"]
    final = stream.get_final_completion()
(told,) = [each for each in pieces if getattr(each, "source_nodes", None)]
print(json.dumps([final.choices[0].message.content, told.citations, len(told.source_nodes)]))
try:
    for each in client.chat.completions.create(**asked, stream=True, seed=13):
        print(json.dumps(each.choices[0].delta.content))
except openai.APIError as error:
    print(json.dumps([type(error).__name__, error.message]))
try:
    client.chat.completions.create(**asked, seed=400)
except openai.BadRequestError as error:
    print(json.dumps([error.status_code, error.body]))
"""


@pytest.fixture(scope="module")
def model() -> Path:
    return Models(paths.cache_directory(os.environ)).ensure(huggingface=True)


@pytest.fixture(scope="module")
def server(
    start: Start, python_of: Engine, image_environment: dict[str, str], model: Path
) -> Server:
    argv = [str(python_of(LLAMA)), "-m", "serving.llamacpp", f"--model={model}", "--alias=gemma"]
    return start([*argv, "--threads=1", "--ctx-size=2048"], image_environment)


@pytest.mark.parametrize("text", ["a", "Ada wrote it; Bob didn't.", "日本 😀", "\n\n  \t x", "= 1"])
async def test_the_servers_tokens_are_the_models(server: Server, model: Path, text: str) -> None:
    llm = Llm(endpoint(f"http://127.0.0.1:{server.port}"), key=KEY)
    texts = [text, PROSE.read_text()]
    counted = await ServerTokenizer(llm).count(texts, "gemma")
    assert counted == await FileTokenizer(model / "tokenizer.json").count(texts, None)
    assert counted[1] <= estimate(texts[1]) <= 1.5 * counted[1]
    await llm.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_real_model_is_asked(server: Server, stream: bool) -> None:
    url = f"http://127.0.0.1:{server.port}/v1"
    retriever = FakeRetriever({"a": [a_hit("Ada wrote the first program.")] * 30})
    settings = ChatSettings(url=url, key=KEY, context_window=1_000)
    chat = Chat(retriever, settings, Guards(active=False))
    body = {"messages": [{"role": "user", "content": "Who?"}], "max_tokens": 8, "temperature": 0}
    reply = await chat.complete({**body, "index_name": "a", "stream": stream})
    if isinstance(reply, Answer):
        last: Any = reply.body
    else:
        events = [json.loads(each[6:]) async for each in reply.events if each[6:].startswith(b"{")]
        (last,) = [each for each in events if "source_nodes" in each]
        await reply.close()
    assert last["choices"][0]["finish_reason"] in ("length", "stop")
    assert 5 <= len(last["source_nodes"]) < 20
    await chat.close()


@asynccontextmanager
async def served(chat: Chat) -> AsyncIterator[str]:
    """As `rag.app` serves it, in a few lines."""

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = await chat.complete(await request.json())
        if not isinstance(reply, Stream):
            return web.json_response(reply.body, status=reply.status, headers=reply.headers)
        response = web.StreamResponse(headers=reply.headers)
        await response.prepare(request)
        async for each in reply.events:
            await response.write(each)
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def by_seed(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    ada, end = piece({"role": "assistant", "content": "Ada [1]"}), piece({}, "stop")
    if body.get("seed") == 400:
        return web.json_response({"error": {"message": "no such seed"}}, status=400)
    if body.get("seed") == 13:
        return await streams(ada, cut=True)(request, body)
    if body.get("stream"):
        return await streams(ada, end, "[DONE]")(request, body)
    choice = {"index": 0, "message": ada["choices"][0]["delta"], "finish_reason": "stop"}
    return web.json_response({**ada, "object": "chat.completion", "choices": [choice]})


async def test_openais_client_takes_it(
    python_of: Engine, image_environment: dict[str, str]
) -> None:
    async with talk(FakeLlm(by_seed)) as at, served(at.chat) as url:
        argv = [str(python_of(WITH_OPENAI)), "-c", CLIENT, url]
        client = await asyncio.create_subprocess_exec(
            *argv, env=image_environment, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await client.communicate()
    whole, stream, begun, broken, refused = map(json.loads, output.splitlines())
    assert whole == stream == ["Ada [1]", [1], 2]
    assert begun == "Ada [1]"
    assert broken[0] == "APIError"
    assert broken[1].startswith("Error during POST request: ")
    assert refused == [400, {"message": "no such seed"}]
