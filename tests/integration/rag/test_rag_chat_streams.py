"""Answers in pieces, with a real HTTP service behind them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from rag.chat import sse
from rag.chat.replies import STREAM_HEADERS
from rag.errors import BadRequestError, LlmError
from rag_chat_llm import Body, FakeLlm, begin, piece, question, streams, talk

from tests.unit.rag.chat.builders import Guards


def documents(events: list[str]) -> list[Body]:
    """Of a stream that is done; each as OpenAI's clients take it."""
    assert events[-1] == "[DONE]"
    found: list[Body] = [json.loads(each) for each in events[:-1]]
    for each in found:
        assert (each["id"], each["object"]) == ("chatcmpl-7", "chat.completion.chunk")
        assert (each["created"], each["model"]) == (1, "m")
        for choice in each["choices"]:
            assert choice.keys() >= {"index", "delta", "finish_reason"}
    return found


def spelled(chunk: Body) -> Body:
    """With the log-probabilities of its tokens."""
    (choice,) = chunk["choices"]
    token = {"token": choice["delta"]["content"], "logprob": -1.0}
    return {**chunk, "choices": [{**choice, "logprobs": {"content": [token]}}]}


USAGE = {**piece({}), "choices": [], "usage": {"total_tokens": 8}}
WHOLE: tuple[Body | str, ...] = (
    piece({"role": "assistant", "content": ""}),
    piece({"content": "Ada"}),
    spelled(piece({"content": " [2"})),
    piece({"content": ""}),
    piece({"content": "]."}, "length"),
    USAGE,
    "[DONE]",
)


def text(chunks: list[Body], name: str = "content") -> str:
    deltas = [choice["delta"] for each in chunks for choice in each["choices"]]
    return "".join(each.get(name) or "" for each in deltas)


async def test_an_answer_in_pieces_names_its_passages_at_its_end() -> None:
    async with talk(FakeLlm(streams(*WHOLE))) as at:
        stream = await at.stream(index_name="a", stream_options={"include_usage": True})
        events = [each async for each in stream.events]
        await stream.close()
    assert dict(stream.headers) == {
        **STREAM_HEADERS,
        "Server-Timing": "embed;dur=1.5, search;dur=2.0",
    }
    assert at.llm.asked[0]["stream"] is True
    assert at.llm.asked[0]["stream_options"] == {"include_usage": True}
    parser = sse.Parser()
    found = documents([each.data for piece in events for each in parser.feed(piece)])
    assert text(found) == "Ada [2]."
    *before, last, usage = found
    assert not any("source_nodes" in each for each in before)
    assert last["choices"] == piece({"content": "]."}, "length")["choices"]
    assert last["citations"] == [2]
    assert [each["number"] for each in last["source_nodes"]] == [1, 2]
    assert usage == USAGE


async def test_what_is_handed_on_comes_back_as_it_is() -> None:
    async with talk(FakeLlm(streams(*WHOLE))) as at:
        events = await at.events(index_name=None, model="m")
    assert documents(events) == list(WHOLE[:-1])
    assert at.llm.asked == [{"messages": question(), "stream": True, "model": "m"}]


async def test_an_answer_without_an_end_of_its_own_has_its_passages_too() -> None:
    async with talk(FakeLlm(streams(piece({"content": "[1]"}), "[DONE]"))) as at:
        found = documents(await at.events(index_name="a"))
    assert found[-1]["choices"] == []
    assert found[-1]["citations"] == [1]


@pytest.mark.parametrize(
    ("answering", "message"),
    [
        pytest.param(
            streams(piece({"content": "Ada"}), cut=True),
            "Error during POST request: ",
            id="the connection is cut",
        ),
        pytest.param(
            streams(piece({"content": "Ada"})),
            "The inference service ended its answer in the middle.",
            id="it ends without an end",
        ),
        pytest.param(
            streams(piece({"content": "Ada"}), "{half"),
            "The inference service sent an event that is no piece of a completion.",
            id="no JSON",
        ),
        pytest.param(
            streams(piece({"content": "Ada"}), "7"),
            "The inference service sent an event that is no piece of a completion.",
            id="no object",
        ),
        *(
            pytest.param(
                streams(piece({"content": "Ada"}), each),
                "The inference service sent an event that is no piece of a completion.",
                id=name,
            )
            for name, each in {
                "choices": '{"choices": 5}',
                "index": '{"choices": [{"index": [1], "delta": {"content": "x"}}]}',
                "depth": '{"choices": [{"delta": ' + "[" * 600 + "]" * 600 + "}]}",
            }.items()
        ),
        pytest.param(
            streams(piece({"content": "Ada"}), "x" * (9 << 20)),
            "The inference service sent an event of more than 8388608 characters.",
            id="no end of it",
        ),
    ],
)
@pytest.mark.parametrize("index", [None, "a"])
async def test_a_stream_that_breaks_says_so(
    answering: Any, message: str, index: str | None
) -> None:
    async with talk(FakeLlm(answering)) as at:
        first, *_, last = await at.events(index_name=index)
    assert json.loads(first)["choices"][0]["delta"] == {"content": "Ada"}
    error = json.loads(last)["error"]
    assert error["message"].startswith(message)
    assert error["code"] == 502


async def test_one_that_falls_silent_says_so() -> None:
    async def silent(request: web.Request, _: Body) -> web.StreamResponse:
        response = await begin(request)
        await response.write(f"data: {json.dumps(piece({'content': 'Ada'}))}\n\n".encode())
        await asyncio.Event().wait()
        raise AssertionError

    async with talk(FakeLlm(silent), read_timeout=0.2) as at:
        *_, last = await at.events()
    assert json.loads(last)["error"]["code"] == 504


@pytest.mark.parametrize("active", [False, True])
async def test_an_error_of_the_service_is_handed_on_and_ends_it(active: bool) -> None:
    said = {"error": {"message": "out of memory", "code": 500}}
    events = (piece({"content": "Ada"}), json.dumps(said), "[DONE]")
    async with talk(FakeLlm(streams(*events)), guards=Guards(active=active)) as at:
        *_, last = await at.events(index_name="a")
    assert json.loads(last) == said


async def test_a_service_without_done_is_done_when_its_choices_are() -> None:
    async with talk(FakeLlm(streams(*WHOLE[:-1]))) as at:
        assert text(documents(await at.events())) == "Ada [2]."


async def test_what_is_no_stream_is_502() -> None:
    async with talk() as at:
        with pytest.raises(LlmError, match="sent no stream"):
            await at.stream()


@pytest.mark.parametrize("read", [0, 1])
async def test_who_goes_away_ends_the_work(read: int) -> None:
    gone = asyncio.Event()

    async def endless(request: web.Request, _: Body) -> web.StreamResponse:
        response = await begin(request)
        await response.write(f"data: {json.dumps(piece({'content': 'Ada'}))}\n\n".encode())
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    async with talk(FakeLlm(endless), guards=Guards()) as at:
        stream = await at.stream(index_name="a")
        for _ in range(read):
            await anext(stream.events)
        await stream.close()
        await asyncio.wait_for(gone.wait(), 10)


async def test_who_is_cut_off_while_waiting_ends_the_work() -> None:
    """As a server does where a client goes away."""
    gone, begun = asyncio.Event(), asyncio.Event()

    async def silent(request: web.Request, _: Body) -> web.StreamResponse:
        await begin(request)
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    async with talk(FakeLlm(silent), keep_alive=0.01) as at:
        stream = await at.stream()

        async def read() -> None:
            async for each in stream.events:
                assert each == sse.KEEP_ALIVE
                begun.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 10)
        await stream.close()


async def test_guardrails_hold_back_what_they_have_not_seen_whole() -> None:
    arguments = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{x"}}
    events = (
        piece({"role": "assistant", "content": ""}),
        spelled(piece({"content": "ax"})),
        spelled(piece({"content": "x"})),
        piece({"reasoning_content": "hmx"}),
        piece({"tool_calls": [arguments]}),
        piece({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}),
        piece({"content": " [1]"}, "stop"),
        USAGE,
        "[DONE]",
    )
    async with talk(FakeLlm(streams(*events)), guards=Guards()) as at:
        found = documents(await at.events(index_name="a"))
    assert text(found) == "a** [1]"
    assert text(found, "reasoning_content") == "hm*"
    calls = [
        call
        for each in found
        for choice in each["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert {each["index"] for each in calls} == {0}
    assert [each["id"] for each in calls if "id" in each] == ["c"]
    assert "".join(each["function"].get("arguments", "") for each in calls) == "{*}"
    *_, last, usage = found
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["choices"][0]["delta"] == {}
    assert last["citations"] == [1]
    assert usage["usage"] == {"total_tokens": 8}
    assert not any(choice.get("logprobs") for each in found for choice in each["choices"])


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([piece({"content": "ab"}), piece({"content": "c~d"})], id="in the middle"),
        pytest.param([piece({"content": "ab"}), piece({"content": "~"}, "stop")], id="at the end"),
        pytest.param([piece({"content": "ab"}), piece({"thoughts": "~"})], id="in another field"),
    ],
)
async def test_a_blocked_stream_is_upstreams_refusal(events: list[Body]) -> None:
    endless = piece({"content": "never seen"})
    async with talk(FakeLlm(streams(*events, *[endless] * 50, "[DONE]")), guards=Guards()) as at:
        found = documents(await at.events(index_name="a"))
    *_, refusal, end = found
    assert "~" not in text(found)
    assert "never" not in text(found)
    assert refusal["choices"][0]["delta"] == {"content": "blocked"}
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]
    assert len(end["source_nodes"]) == 2


async def test_a_policy_that_cannot_hold_for_streams_is_told_first() -> None:
    def no() -> None:
        raise BadRequestError("not for streams")

    async with talk(guards=Guards(check=no)) as at:
        with pytest.raises(BadRequestError, match="not for streams"):
            await at.stream(index_name="unknown")
        assert (await at.whole()).status == 200
