"""Keys, limits, other sites' pages, and who is let in while the service starts or ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rag.app import create_app
from rag.chat.replies import Answer, Stream
from rag.health import Entrance, Health
from rag.limits import Rates

from tests.unit.rag.http.conftest import Make
from tests.unit.rag.http.fakes import World

CHAT = "POST /v1/chat/completions"
KEY = {"authorization": "Bearer the-key"}


@pytest.fixture
def keyed(make: Make, tmp_path: Path) -> World:
    (tmp_path / "one").write_text("the-key\n")
    return make(KAITO_API_KEYS_DIR=str(tmp_path))


async def test_without_keys_nobody_is_asked(world: World) -> None:
    assert (await world.ask("GET /indexes")).status_code == 200


@pytest.mark.parametrize(
    "line",
    [
        "GET /indexes",
        CHAT,
        "POST /index",
        "POST /retrieve",
        "GET /indexes/a/documents",
        "DELETE /indexes/a",
        "POST /persist/a",
        "POST /load/a",
        "POST /ui/x",
        "GET /uix",
    ],
)
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "no"}])
async def test_who_has_no_key(line: str, headers: dict[str, str], keyed: World) -> None:
    answer = await keyed.ask(line, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["detail"].startswith("The API key is missing or wrong")
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("headers", [KEY, {"x-api-key": "the-key"}])
async def test_who_has_one(headers: dict[str, str], keyed: World) -> None:
    assert (await keyed.ask("GET /indexes", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/livez", "/metrics", "/docs", "/openapi.json"])
async def test_what_is_open(path: str, keyed: World) -> None:
    assert (await keyed.ask(f"GET {path}")).status_code == 200


async def test_other_sites_are_not_let_in_unless_named(make: Make) -> None:
    asks = {"origin": "https://a.example", "access-control-request-method": "POST"}
    closed, opened = make(), make(RAG_CORS_ORIGINS="https://a.example, https://b.example")
    assert (await closed.ask("OPTIONS /retrieve", headers=asks)).status_code == 405
    answer = await opened.ask("OPTIONS /retrieve", headers=asks)
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    answer = await opened.ask("GET /indexes", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_refusal_can_be_read_by_the_page_that_asked(make: Make, tmp_path: Path) -> None:
    world = make(RAG_CORS_ORIGINS="https://a.example", KAITO_API_KEYS_DIR=str(tmp_path))
    answer = await world.ask("GET /indexes", headers={"origin": "https://a.example"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://a.example"


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for each in sizes:
        yield b" " * each


async def test_bodies_that_say_they_are_too_large(make: Make) -> None:
    world = make(RAG_MAX_BODY_BYTES="100")
    answer = await world.ask("POST /index", content=b" " * 101)
    assert answer.status_code == 413
    assert "100 bytes, which is RAG_MAX_BODY_BYTES" in answer.json()["detail"]


async def test_bodies_that_become_too_large(make: Make) -> None:
    world = make(RAG_MAX_BODY_BYTES="100")
    headers = {"content-type": "application/json"}
    answer = await world.ask("POST /index", content=pieces(60, 60), headers=headers)
    assert answer.status_code == 413
    assert "100 bytes, which is RAG_MAX_BODY_BYTES" in answer.json()["detail"]
    answer = await world.ask("POST /index", content=pieces(60, 40), headers=headers)
    assert answer.status_code == 422  # blanks are no JSON


async def test_all_bodies_together(make: Make) -> None:
    world = make(RAG_MAX_BODY_BYTES_AT_ONCE="100")
    answer = await world.ask("POST /index", content=b" " * 101)
    assert answer.status_code == 429
    headers = {"content-type": "application/json"}
    answer = await world.ask("POST /index", content=pieces(60, 60), headers=headers)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    small = {"index_name": "a", "documents": []}
    for _ in range(5):  # what is over is not counted
        assert (await world.ask("POST /index", small)).status_code == 200


async def test_a_body_that_does_not_come(make: Make) -> None:
    world = make(RAG_BODY_TIMEOUT_SECONDS="0.05")
    never = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    headers = {"content-type": "application/json"}
    answer = await world.ask("POST /index", content=stalls(), headers=headers)
    assert answer.status_code == 408
    assert "RAG_BODY_TIMEOUT_SECONDS" in answer.json()["detail"]
    assert answer.headers["connection"] == "close"


class Waits:
    """A stream that ends when it is told to."""

    def __init__(self, world: World) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        world.chat.reply = Stream(self._events())
        self.asked = asyncio.create_task(world.ask(CHAT, {}))
        self._world = world

    async def _events(self) -> AsyncIterator[bytes]:
        self.begun.set()
        await self.may_end.wait()
        yield b"data: [DONE]\n\n"

    async def end(self) -> httpx.Response:
        self.may_end.set()
        self._world.chat.reply = Answer(200, {})
        return await self.asked


async def test_no_more_requests_than_there_may_be(make: Make) -> None:
    world = make(RAG_MAX_REQUESTS="1")
    first = Waits(world)
    await first.begun.wait()
    assert await world.sample("num_requests_running") == 1
    answer = await world.ask(CHAT, {})
    assert answer.status_code == 429
    assert "1 are in work, which is RAG_MAX_REQUESTS" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    assert (await world.ask("GET /health")).status_code == 200
    assert (await world.ask("GET /metrics")).status_code == 200
    assert (await first.end()).status_code == 200
    assert (await world.ask(CHAT, {})).status_code == 200
    assert await world.sample("num_requests_running") == 0


async def test_no_more_requests_of_one_client(make: Make, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    world = make(RAG_REQUESTS_PER_MINUTE="2", KAITO_API_KEYS_DIR=str(tmp_path))
    asks: dict[str, Any] = {"headers": {"authorization": "Bearer a"}}
    answers = [await world.ask(CHAT, {}, **asks) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 30
    assert "RAG_REQUESTS_PER_MINUTE" in answers[-1].json()["detail"]
    assert (await world.ask(CHAT, {}, headers={"x-api-key": "b"})).status_code == 200


async def test_an_unasked_key_makes_no_new_client(make: Make) -> None:
    world = make(RAG_REQUESTS_PER_MINUTE="1")
    answers = [await world.ask(CHAT, {}, headers={"x-api-key": str(n)}) for n in range(2)]
    assert [each.status_code for each in answers] == [200, 429]


def test_buckets_fill_again_and_old_clients_are_forgotten() -> None:
    rates = Rates(60)
    assert all(rates.refusal(b"a", 0.0) is None for _ in range(60))
    refusal = rates.refusal(b"a", 0.0)
    assert refusal is not None
    assert refusal.retry_after == 1.0
    assert rates.refusal(b"a", 1.0) is None
    assert rates.refusal(b"a", 1.0) is not None
    for n in range(10_000):
        rates.refusal(b"%d" % n, 1.0)
    assert rates.refusal(b"a", 1.0) is None
    assert Rates(0).refusal(b"a", 0.0) is None


@pytest.fixture
async def entrance() -> AsyncIterator[tuple[Entrance, httpx.AsyncClient]]:
    entrance = Entrance(Health("loading"))
    transport = httpx.ASGITransport(entrance)
    async with httpx.AsyncClient(transport=transport, base_url="http://rag") as client:
        yield entrance, client


async def test_before_anything_is_loaded(
    entrance: tuple[Entrance, httpx.AsyncClient],
) -> None:
    _, client = entrance
    health = await client.get("/health")
    assert (health.status_code, health.json()) == (
        503,
        {"status": "Unhealthy", "detail": "loading"},
    )
    assert (await client.get("/livez")).status_code == 200
    answer = await client.post("/retrieve", json={"query": "x" * 100_000})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json() == {"detail": "Not ready: loading."}


async def test_while_it_ends_it_answers_and_sends_away(
    entrance: tuple[Entrance, httpx.AsyncClient], world: World
) -> None:
    door, client = entrance
    door.app, door.health.problem = create_app(world.parts), None
    answer = await client.get("/indexes")
    assert (answer.status_code, "connection" in answer.headers) == (200, False)
    door.stopping, door.health.problem = True, "stopping"
    answer = await client.get("/indexes")
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert (await client.get("/health")).json()["detail"] == "stopping"
    assert (await client.get("/livez")).status_code == 200
