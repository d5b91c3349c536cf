"""Whole answers, with a real HTTP service behind them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from rag.chat.replies import Answer
from rag.chat.service import Chat
from rag.chat.settings import ChatSettings
from rag.errors import BadRequestError, LlmError, NoLlmError, NotFoundError, UnknownIndexError
from rag_chat_llm import (
    Body,
    FakeLlm,
    FakeRetriever,
    answers,
    completion,
    question,
    says,
    talk,
)

from tests.unit.rag.chat.builders import Guards, a_hit

PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
TUNING = {
    "temperature": 0.1, "top_p": 0.9, "stop": ["."], "seed": 7, "user": "u", "logprobs": True,
    "response_format": {"type": "json_object"}, "presence_penalty": 0.5, "top_k": 4,
    "tools": [{"type": "function", "function": {"name": "f"}}], "max_completion_tokens": 50,
}  # fmt: skip


async def test_an_answer_rests_on_passages_and_names_them() -> None:
    async with talk(key="secret") as at:
        body = {**TUNING, "index_name": "a", "model": "m", "context_token_ratio": 0.4}
        answer = await at.whole(**body, metadata_filter={"x": 1}, mode="dense", max_node_count=7)
    (sent,) = at.llm.asked
    assert sent == {**TUNING, "model": "m", "messages": sent["messages"]}
    assert "[2] document" in sent["messages"][0]["content"]
    assert sent["messages"][0]["content"].endswith("Question: Who?")
    assert at.llm.headers[0]["Authorization"] == "Bearer secret"
    assert at.retriever.asked == [("a", "Who?", 7, "dense", {"x": 1})]
    assert answer.status == 200
    assert answer.body | {"source_nodes": 0, "citations": 0} == {
        **completion({"model": "m"}), "source_nodes": 0, "citations": 0,
    }  # fmt: skip
    assert [node["text"] for node in answer.body["source_nodes"]] == ["Bob was first.", "Ada was."]
    assert answer.body["citations"] == [2]
    assert answer.headers["Server-Timing"] == "embed;dur=1.5, search;dur=2.0"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="no index"),
        pytest.param({"index_name": "a", "messages": PICTURE}, id="a picture"),
        pytest.param(
            {"index_name": "a", "messages": [*question(), {"role": "tool", "content": "7"}]},
            id="a tool's answer",
        ),
    ],
)
async def test_what_is_handed_on_is_not_looked_up(body: Body) -> None:
    async with talk() as at:
        answer = await at.whole(**body, rerank=True, metadata_filter={}, temperature=0)
    assert at.llm.asked == [
        {"messages": body.get("messages", question()), "temperature": 0, "model": "base"}
    ]
    assert at.retriever.asked == []
    assert answer.body == {**completion({"model": "base"}), "source_nodes": None}


async def test_many_at_once_never_mix() -> None:
    """Each of 64 gets its own model, temperature, index and question back, while none has been
    answered before all have been asked."""
    count = 64
    waiting = asyncio.Barrier(count)

    async def echo(_: web.Request, body: Body) -> web.StreamResponse:
        async with waiting:
            said = [body["temperature"], body["messages"][-1]["content"]]
        return web.json_response(completion(body, json.dumps(said)))

    indexes = {f"i{n}": [a_hit(f"passage {n}.", doc_id=f"doc{n}")] for n in range(count)}
    async with talk(FakeLlm(echo), retriever=FakeRetriever(indexes)) as at:
        found = await asyncio.wait_for(
            asyncio.gather(
                *(
                    at.whole(
                        index_name=f"i{n}",
                        model=f"m{n}",
                        temperature=n,
                        messages=question(f"Who is {n}?"),
                    )
                    for n in range(count)
                )
            ),
            30,
        )
    for n, answer in enumerate(found):
        temperature, text = json.loads(answer.body["choices"][0]["message"]["content"])
        assert (answer.body["model"], temperature) == (f"m{n}", n)
        assert f"passage {n}." in text
        assert text.endswith(f"Who is {n}?")
        assert [node["doc_id"] for node in answer.body["source_nodes"]] == [f"doc{n}"]


async def test_nobody_waits_for_anothers_answer() -> None:
    held = asyncio.Event()

    async def first_waits(_: web.Request, body: Body) -> web.StreamResponse:
        if body["model"] == "slow":
            await held.wait()
        return await answers(_, body)

    async with talk(FakeLlm(first_waits)) as at:
        slow = asyncio.create_task(at.whole(index_name="a", model="slow"))
        while not at.llm.asked:
            await asyncio.sleep(0)
        await asyncio.wait_for(at.whole(index_name="a", model="quick"), 10)
        assert not slow.done()
        held.set()
        assert (await slow).body["model"] == "slow"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "said", "detail"),
    [
        (400, {"error": {"message": "no"}}, {"error": {"message": "no"}}),
        (404, {"detail": "no model"}, {"detail": "no model"}),
        (422, "not JSON", "not JSON"),
        (429, {"error": "slowly"}, {"error": "slowly"}),
    ],
)
async def test_a_refusal_keeps_its_status_and_words(
    status: int, said: object, detail: object, stream: bool
) -> None:
    async with talk(FakeLlm(says(status, said, {"Retry-After": "3"}))) as at:
        reply = await at.chat.complete({"messages": question(), "stream": stream})
    assert isinstance(reply, Answer)
    assert reply.status == status
    assert reply.body["detail"] == detail
    assert reply.body.get("error") == (detail.get("error") if isinstance(detail, dict) else None)
    assert reply.headers == {"Retry-After": "3"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [401, 503])
async def test_a_key_that_is_not_liked_is_not_repeated(status: int, stream: bool) -> None:
    said = {"error": {"message": "Incorrect API key provided: secret-key."}}
    async with talk(FakeLlm(says(status, said)), key="secret-key") as at:
        try:
            told = str(await at.chat.complete({"messages": question(), "stream": stream}))
        except LlmError as error:
            told = error.detail
    assert "Incorrect API key provided: ***." in told
    assert "secret-key" not in told


@pytest.mark.parametrize("depth", [300, 900, 5_000])
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_answer_that_nests_without_end_is_no_fault_of_ours(
    status: int, depth: int
) -> None:
    said = '{"choices": [{"message": {"content": ' + "[" * depth + "]" * depth + "}}]}"
    async with talk(FakeLlm(says(status, said))) as at:
        if status == 400:
            reply = await at.chat.complete({"messages": question()})
            assert json.dumps(reply.body["detail"]) == json.dumps(said)  # as text
            return
        with pytest.raises(LlmError, match="choices"):
            await at.chat.complete({"messages": question()})


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("again", ["9" * 400, "bald…", "soon", "-1"])
async def test_what_is_no_time_to_come_again_is_not_handed_on(status: int, again: str) -> None:
    """A header could not hold some of it, and a number not be as large."""
    async with talk(FakeLlm(says(status, "busy", {"Retry-After": again}))) as at:
        told: object
        try:
            told = (await at.chat.complete({"messages": question()})).headers
        except LlmError as error:
            told = error.retry_after
    assert not told


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answering", "reason"),
    [
        pytest.param(
            says(500, {"error": {"message": "out of memory"}}),
            "The inference service answered 500: out of memory",
            id="500",
        ),
        pytest.param(says(503, "busy"), "The inference service answered 503: busy", id="503"),
        pytest.param(
            says(307, "", {"Location": "http://127.0.0.1:1/"}),
            "The inference service answered 307: nothing",
            id="redirect",
        ),
        pytest.param(
            says(200, {"result": 1}, {"Content-Type": "application/json"}),
            'but {"result": 1}.',
            id="no completion",
        ),
    ],
)
async def test_a_failure_is_502_with_the_reason(answering: Any, reason: str, stream: bool) -> None:
    async with talk(FakeLlm(answering)) as at:
        with pytest.raises(LlmError) as failed:
            await at.chat.complete({"messages": question(), "stream": stream})
    assert failed.value.status == 502
    assert reason.replace(" ", "") in failed.value.detail.replace(" ", "")


async def test_no_json_is_502() -> None:
    async with talk(FakeLlm(says(200, "<html>"))) as at:
        with pytest.raises(LlmError, match="no JSON, but <html>") as failed:
            await at.whole()
    assert failed.value.status == 502


@pytest.mark.parametrize("stream", [False, True])
async def test_a_service_that_is_down_is_502(stream: bool, unused_tcp_port: int) -> None:
    async with talk(url=f"http://127.0.0.1:{unused_tcp_port}/v1") as at:
        with pytest.raises(LlmError) as failed:
            await at.chat.complete({"messages": question(), "model": "m", "stream": stream})
    assert failed.value.status == 502
    assert failed.value.detail.startswith("Error during POST request: ")


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_says_nothing_is_504(stream: bool) -> None:
    async def never(_: web.Request, __: Body) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with talk(FakeLlm(never), read_timeout=0.1) as at:
        with pytest.raises(LlmError) as failed:
            await at.chat.complete({"messages": question(), "stream": stream})
    assert failed.value.status == 504


async def test_without_an_llm_retrieve_is_named() -> None:
    chat = Chat(FakeRetriever(), ChatSettings(), Guards())
    with pytest.raises(NoLlmError, match="/retrieve") as refused:
        await chat.complete({})
    assert refused.value.status == 503
    await chat.close()


async def test_an_address_without_chat_is_told_when_it_is_asked() -> None:
    chat = Chat(FakeRetriever(), ChatSettings(url="http://llm/v1/completions"), Guards())
    with pytest.raises(BadRequestError) as refused:
        await chat.complete({"messages": question()})
    words = "Chat completions not supported through endpoint http://llm/v1/completions."
    assert refused.value.detail == words
    await chat.close()


@pytest.mark.parametrize("messages", [question(), PICTURE])
async def test_an_unknown_index_is_told_also_where_it_is_not_needed(messages: list[Body]) -> None:
    async with talk() as at:
        with pytest.raises(UnknownIndexError, match=r"No such index: 'b' exists\."):
            await at.whole(index_name="b", messages=messages)
    assert at.llm.asked == []


async def test_nothing_found_is_answered_without_context() -> None:
    conversation = [*question("Who?"), *question("When?")]
    async with talk(retriever=FakeRetriever({"a": []})) as at:
        answer = await at.whole(index_name="a", messages=conversation)
    assert at.llm.asked[0]["messages"] == conversation
    assert answer.body["source_nodes"] == answer.body["citations"] == []


@pytest.mark.parametrize(
    ("hits", "words"),
    [
        ([], "Nothing was found in index 'a' for this question."),
        ([a_hit("word " * 9_000)], "No passage of index 'a' fits into the room"),
    ],
)
async def test_or_refused_where_that_is_set(hits: list[Any], words: str) -> None:
    retriever = FakeRetriever({"a": hits})
    async with talk(retriever=retriever, refuse_without_context=True) as at:
        with pytest.raises(NotFoundError, match=words):
            await at.whole(index_name="a")
    assert at.llm.asked == []


async def test_what_is_far_is_left_out_where_a_threshold_is_set() -> None:
    far = a_hit("Far.", source="dense_only", dense_score=0.5)
    async with talk(retriever=FakeRetriever({"a": [far]}), similarity_threshold=0.85) as at:
        answer = await at.whole(index_name="a")
    assert answer.body["source_nodes"] == []


async def test_chunks_fill_the_room_whole_by_the_servers_tokens() -> None:
    """8,000 tokens at most says the server; of 1,000 words each, 3 chunks are half of it, and one
    of 5,000 is passed over."""
    texts = ["big " * 5_000, *(f"{'word ' * 999}{n}" for n in range(6))]
    hits = [a_hit(text, position=place) for place, text in enumerate(texts)]
    async with talk(retriever=FakeRetriever({"a": hits})) as at:
        answer = await at.whole(index_name="a")
        assert [node["text"] for node in answer.body["source_nodes"]] == texts[1:4]
        assert all(text in at.llm.asked[0]["messages"][0]["content"] for text in texts[1:4])
        counted = len(at.llm.counted)
        limited = await at.whole(index_name="a", max_tokens=6_500)
        assert [node["text"] for node in limited.body["source_nodes"]] == texts[1:4]
        narrow = await at.whole(index_name="a", context_token_ratio=0.3)
        assert [node["text"] for node in narrow.body["source_nodes"]] == texts[1:3]
        assert len(at.llm.counted) == counted  # each text once


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("limit", [1_500, 1_800, 2_000, 4_000, None])
async def test_a_limit_of_the_answer_leaves_passages_and_fits(name: str, limit: int | None) -> None:
    """As a server with a window of 2,000 sees it, which refuses what is more."""
    hits = [a_hit("word " * 300, position=place) for place in range(4)]

    async def strict(request: web.Request, body: Body) -> web.StreamResponse:
        prompt = len(" ".join(each["content"] for each in body["messages"]).split())
        assert prompt + (body.get(name) or 1) <= 2_000
        return await answers(request, body)

    retriever = FakeRetriever({"a": hits})
    async with talk(FakeLlm(strict), retriever=retriever, context_window=2_000) as at:
        given = {} if limit is None else {name: limit}
        answer = await at.whole(index_name="a", **given)
        assert len(answer.body["source_nodes"]) == 3
        (asked,) = at.llm.asked
        if limit is None:
            assert name not in asked
        else:
            assert 600 < asked[name] < 1_000
        few = await at.whole(index_name="a", **{name: 100})
        assert len(few.body["source_nodes"]) == 3
        assert at.llm.asked[-1][name] == 100


async def test_a_prompt_that_is_too_long_is_refused() -> None:
    async with talk() as at:
        with pytest.raises(BadRequestError) as refused:
            await at.whole(index_name="a", messages=question("word " * 8_001))
    assert refused.value.detail == "Prompt length exceeds context window."


async def test_llama_cpps_form_of_tokenize() -> None:
    async with talk(FakeLlm(dialect="llama"), context_window=2_000) as at:
        hits = [a_hit("word " * 500), a_hit("word " * 500)]
        at.retriever.indexes = {"a": hits}
        answer = await at.whole(index_name="a", context_token_ratio=0.5)
    assert len(answer.body["source_nodes"]) == 1
    assert any("word " * 500 in each for each in at.llm.counted)


async def test_a_server_that_does_not_count_is_not_asked_again() -> None:
    hits = [a_hit("word " * 500)]
    retriever = FakeRetriever({"a": hits})
    async with talk(FakeLlm(dialect="none"), retriever=retriever, context_window=3_000) as at:
        for n in range(3):
            answer = await at.whole(index_name="a", messages=question(str(n)))
            assert len(answer.body["source_nodes"]) == 1
            if n == 0:
                first = at.llm.refused
        assert at.llm.refused == first


async def test_the_first_model_is_the_default_and_asked_for_once() -> None:
    async with talk() as at:
        await at.whole()
        await at.whole(model="")
        assert (await at.whole(model="adapter")).body["model"] == "adapter"
    assert [each["model"] for each in at.llm.asked] == ["base", "base", "adapter"]
    assert at.llm.listed == 1


async def test_without_a_list_the_request_names_no_model() -> None:
    async with talk(FakeLlm(models=())) as at:
        answer = await at.whole(index_name="a")
    assert answer.status == 200
    assert "model" not in at.llm.asked[0]


async def test_guardrails_see_every_text_of_an_answer() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "fix", "arguments": "{x}"}}

    async def answer(_: web.Request, body: Body) -> web.StreamResponse:
        found = completion(body, "x [1]", reasoning_content="hm x", tool_calls=[call])
        found["choices"][0]["logprobs"] = {"content": [{"token": "x"}]}
        return web.json_response(found)

    async with talk(FakeLlm(answer), guards=Guards()) as at:
        shown = (await at.whole(index_name="a")).body["choices"][0]
    message = shown["message"]
    assert (message["content"], message["reasoning_content"]) == ("* [1]", "hm *")
    assert message["tool_calls"][0]["function"] == {"name": "fix", "arguments": "{*}"}
    assert message["tool_calls"][0]["id"] == "x"
    assert "logprobs" not in shown


async def test_a_blocked_answer_is_upstreams_refusal() -> None:
    async def answer(_: web.Request, body: Body) -> web.StreamResponse:
        return web.json_response(completion(body, "fine", reasoning_content="~"))

    async with talk(FakeLlm(answer), guards=Guards()) as at:
        body = (await at.whole(index_name="a")).body
    message = {"role": "assistant", "content": "blocked"}
    assert body["choices"] == [{"index": 0, "message": message, "finish_reason": "content_filter"}]
    assert body["id"] == "chatcmpl-7"
    assert len(body["source_nodes"]) == 2


async def test_half_a_letter_is_no_error() -> None:
    async def answer(_: web.Request, body: Body) -> web.StreamResponse:
        return web.json_response(completion(body, "\ud83d"))

    async with talk(FakeLlm(answer)) as at:
        sent = await at.whole(messages=question("\ud83d"))
    assert sent.body["choices"][0]["message"]["content"] == "?"
    assert at.llm.asked[0]["messages"] == question("\ud83d")
