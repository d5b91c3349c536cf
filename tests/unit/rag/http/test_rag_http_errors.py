"""What goes wrong has a status, a sentence and an id, and never a traceback."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from rag import errors
from rag.chat.replies import Stream
from rag.envelope import BrokenOffError
from rag.storage.failures import DamagedError

from tests.unit.rag.http.conftest import Make
from tests.unit.rag.http.fakes import World

CHAT = "POST /v1/chat/completions"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadRequestError("x"), 400),
        (errors.UnknownIndexError("x"), 404),
        (errors.InvalidError("x"), 422),
        (errors.BusyError("x"), 429),
        (errors.EmbedderError("x"), 502),
        (errors.EmbedderError("x", timed_out=True), 504),
        (errors.LlmError("x"), 502),
        (errors.NoLlmError("x"), 503),
        (errors.NotReadyError("x"), 503),
        (errors.NotWritableError("x"), 503),
        (errors.StorageError("x"), 503),
        (errors.StorageFullError("x"), 507),
        (DamagedError("x"), 503),
    ],
    ids=repr,
)
async def test_errors_have_their_status(error: errors.RagError, status: int, world: World) -> None:
    world.chat.reply = error
    answer = await world.ask(CHAT, {})
    assert (answer.status_code, answer.json()) == (status, {"detail": error.detail})
    assert "retry-after" not in answer.headers


async def test_busy_says_when_to_come_again(world: World) -> None:
    world.chat.reply = errors.NotWritableError("another process holds the files", retry_after=0.2)
    answer = await world.ask(CHAT, {})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_the_last_resort(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.store.error = RuntimeError("the secret of the house")
    with caplog.at_level(logging.ERROR, "rag"):
        answer = await world.ask("GET /indexes", headers={"x-request-id": "mine-1"})
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal error; see the log for mine-1"}
    assert answer.headers["x-request-id"] == "mine-1"
    assert "mine-1" in caplog.text
    assert "the secret of the house" in caplog.text


async def test_ids_are_made_and_bad_ones_are_not_repeated(world: World) -> None:
    made = (await world.ask("GET /indexes")).headers["x-request-id"]
    other = (await world.ask("GET /indexes", headers={"x-request-id": "a b"})).headers
    assert len(made) == 32
    assert len(other["x-request-id"]) == 32
    assert other["x-request-id"] != made


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "json_invalid"),
        (b"", "missing"),
        (b'{"text": "\\ud800"}', "json_invalid"),
        (b"[" * 300 + b"]" * 300, "json_invalid"),
        (b"[" * 100_000, "json_invalid"),
        (b'{"temperature": NaN}', "json_invalid"),
        (b'{"temperature": 1e999}', "value_error"),
        (b'{"a": "\xff"}', "json_invalid"),
    ],
)
async def test_bodies_that_are_no_json(body: bytes, kind: str, world: World) -> None:
    headers = {"content-type": "application/json"}
    answer = await world.ask(CHAT, content=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == kind
    assert answer.json()["detail"][0]["loc"][0] == "body"


async def test_what_was_sent_is_not_repeated_and_faults_are_told_within_reason(
    world: World,
) -> None:
    body = {"index_name": "a", "documents": [{"password": "hush"}] * 1000}
    answer = await world.ask("POST /index", body)
    assert answer.status_code == 422
    assert "hush" not in answer.text
    assert len(answer.json()["detail"]) == 100


async def test_some_documents_fail(world: World) -> None:
    world.ingester.fails["b"] = errors.EmbedderError("the embedder is down")
    documents = [{"text": "a"}, {"text": "b"}]
    answer = await world.ask("POST /index", {"index_name": "x", "documents": documents})
    assert answer.status_code == 207
    assert [(each["status"], each["error"]) for each in answer.json()] == [
        ("created", None),
        ("failed", "the embedder is down"),
    ]


async def test_all_documents_fail(world: World) -> None:
    world.ingester.fails["b"] = errors.InvalidError(
        "text is too long", "body", "documents", 0, "text"
    )
    answer = await world.ask("POST /index", {"index_name": "x", "documents": [{"text": "b"}]})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "documents", 0, "text"]


async def test_some_updates_fail(world: World) -> None:
    ids = await world.has("x", "a", "b")
    world.ingester.fails["broken"] = errors.EmbedderError("down")
    documents = [{"doc_id": ids[0], "text": "fine"}, {"doc_id": ids[1], "text": "broken"}]
    answer = await world.ask("POST /indexes/x/documents", {"documents": documents})
    assert answer.status_code == 207
    assert [each["doc_id"] for each in answer.json()["updated_documents"]] == [ids[0]]
    assert answer.json()["failed_documents"][0]["error"] == "down"
    answer = await world.ask("POST /indexes/x/documents", {"documents": documents[1:]})
    assert (answer.status_code, answer.json()) == (502, {"detail": "down"})


NDJSON = {"accept": "application/x-ndjson"}


def lines(answer: httpx.Response) -> list[Any]:
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(each) for each in answer.text.splitlines()]


async def test_progress_is_told_line_by_line(world: World) -> None:
    world.ingester.fails["b"] = errors.InvalidError(
        "text is too long", "body", "documents", 1, "text"
    )
    body = {"index_name": "x", "documents": [{"text": "a"}, {"text": "b"}]}
    answer = await world.ask("POST /index", body, headers=NDJSON)
    assert answer.status_code == 200
    told = lines(answer)
    assert [(each["done"], each["total"]) for each in told] == [(1, 2), (2, 2)]
    assert [each["results"][0]["status"] for each in told] == ["created", "failed"]
    assert told[1]["results"][0]["error"] == "body.documents.1.text: text is too long"
    assert world.ingester.closed


async def test_progress_that_breaks_off_says_so(world: World) -> None:
    body = {"index_name": "x", "documents": [{"text": "a"}, {"text": "b"}]}
    world.ingester.broken = (1, errors.StorageFullError("no room"))
    told = lines(await world.ask("POST /index", body, headers=NDJSON))
    assert told[-1] == {"detail": "no room", "status": 507}
    world.ingester.broken = (0, errors.StorageFullError("no room"))
    answer = await world.ask("POST /index", body, headers=NDJSON)
    assert (answer.status_code, answer.json()) == (507, {"detail": "no room"})


async def test_progress_has_its_last_line_whatever_happens(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"index_name": "x", "documents": [{"text": "a"}, {"text": "b"}]}
    world.ingester.broken = (1, RuntimeError("a secret"))
    told = lines(await world.ask("POST /index", body, headers=NDJSON))
    assert told[-1] == {
        "detail": "Something went wrong; the service's log says what.",
        "status": 500,
    }
    assert "a secret" in caplog.text
    assert world.ingester.closed


async def test_progress_of_nothing(world: World) -> None:
    answer = await world.ask("POST /index", {"index_name": "x", "documents": []}, headers=NDJSON)
    assert (answer.status_code, answer.text) == (200, "")


async def test_streams_are_relayed_and_closed(world: World) -> None:
    closed: list[bool] = []

    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        yield b"data: [DONE]\n\n"

    async def close() -> None:
        closed.append(True)

    world.chat.reply = Stream(events(), close=close)
    answer = await world.ask(CHAT, {"stream": True})
    assert answer.text == "data: 1\n\ndata: [DONE]\n\n"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert closed == [True]


async def test_a_stream_that_breaks_is_cut_off_and_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()

    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        raise RuntimeError("broken in the middle")

    world.chat.reply = Stream(events())
    with pytest.raises(BrokenOffError):  # the server ends the connection over it
        await world.ask(CHAT, {"stream": True})
    assert "broken in the middle" in caplog.text
    failed = await world.sample("rag_chat_requests_total", status="failure")
    assert failed == 1
