"""Two processes on one directory: how a Deployment rolls, and what a crash leaves."""

from __future__ import annotations

import asyncio
import signal
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx
import numpy as np
import pytest
from rag.documents import id_of

from tests.integration.rag.rag_server_process import Process, Services, Start, vector

FRUIT = "Apples are red fruit and grow on trees."
METAL = "Iron is a metal that rusts in water."
STAR = "The sun is a star of hydrogen and helium."
QUESTION = "Which metal rusts?"


async def put(rag: Process, *texts: str) -> None:
    """Acknowledged when this returns."""
    documents = [{"text": each} for each in texts]
    answer = await rag.ask("POST /index", {"index_name": "facts", "documents": documents})
    assert answer.status_code == 200, answer.text


async def ids(rag: Process) -> set[str]:
    found: set[str] = set()
    while True:
        line = f"GET /indexes/facts/documents?limit=100&offset={len(found)}"
        page = (await rag.ask(line)).json()
        found |= {each["doc_id"] for each in page["documents"]}
        if len(found) == page["total_items"]:
            return found


async def scores(rag: Process) -> dict[str, float]:
    """Cosines with the question, by text."""
    asked = {"index_name": "facts", "query": QUESTION, "mode": "dense"}
    answer = await rag.ask("POST /retrieve", asked)
    assert answer.status_code == 200, answer.text
    return {each["text"]: each["dense_score"] for each in answer.json()["results"]}


def cosines(model: str, *texts: str) -> Any:
    """With the question, as that model has them."""
    found = np.array([vector(each, model) for each in (QUESTION, *texts)])
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return pytest.approx(dict(zip(texts, found[1:] @ found[0], strict=True)), abs=1e-3)


async def sample(rag: Process, name: str) -> float:
    lines = (await rag.ask("GET /metrics")).text.splitlines()
    return float(next(each for each in lines if each.startswith(f"{name} ")).rpartition(" ")[2])


@dataclass
class Client:
    """Asks one process after another, as a Service spreads connections: each time a new one, and
    only to who was healthy a moment ago."""

    processes: Sequence[Process]
    answers: Counter[tuple[int, int]] = field(default_factory=Counter)
    """How many, by process and status."""

    async def ask(self) -> None:
        for number, each in enumerate(self.processes):
            if not await self._healthy(each):
                continue
            async with httpx.AsyncClient(base_url=each.client.base_url, timeout=30) as client:
                asked = {"index_name": "facts", "query": "fruit"}
                answer = await client.post("/retrieve", json=asked)
            found = [node["text"] for node in answer.json().get("results", ())]
            self.answers[number, answer.status_code] += 1
            assert answer.status_code == 200, answer.text
            assert FRUIT in found

    async def _healthy(self, process: Process) -> bool:
        async with httpx.AsyncClient(base_url=process.client.base_url, timeout=30) as client:
            try:
                return (await client.get("/health")).status_code == 200
            except httpx.TransportError:
                return False


@asynccontextmanager
async def asking(*processes: Process) -> AsyncIterator[Client]:
    """All the while. Raises what went wrong with a request."""
    client, over = Client(processes), asyncio.Event()

    async def go_on() -> None:
        while not over.is_set():
            await client.ask()

    async with asyncio.TaskGroup() as group:
        group.create_task(go_on())
        yield client
        over.set()


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_follower_shows_what_was_acknowledged_half_a_second_ago(start: Start) -> None:
    first = await start()
    await first.ready()
    await put(first, FRUIT)
    second = await start()
    await second.ready()
    assert [await sample(each, "rag_store_writable") for each in (first, second)] == [1, 0]
    assert await ids(second) == {id_of(FRUIT)}
    behind = []
    for number in range(5):
        text = f"Fact {number} is about iron."
        await put(first, text)
        begun = monotonic()

        async def shown(text: str = text) -> bool:
            answer = {"index_name": "facts", "query": text, "max_node_count": 20}
            results = (await second.ask("POST /retrieve", answer)).json()["results"]
            return text in [each["text"] for each in results]

        await until(shown)
        behind.append(monotonic() - begun)
    assert statistics.median(behind) <= 0.5


async def test_no_request_fails_while_one_takes_over_from_the_other(
    start: Start, beside: Services
) -> None:
    first = await start(RAG_STOP_DELAY_SECONDS="2")
    await first.ready()
    await put(first, FRUIT)
    async with asyncio.TaskGroup() as group:
        second = await start()
        await second.ready()
        async with asking(first, second) as client:
            waiting = group.create_task(put(second, METAL))
            chat = {"messages": [{"role": "user", "content": "Well?"}], "model": "slow"}
            beside.gates = {"slow": asyncio.Event()}
            answering = group.create_task(first.ask("POST /v1/chat/completions", chat))

            async def both_in_work() -> bool:
                written = await sample(second, "num_requests_running")
                return bool(beside.asked) and written >= 1 and client.answers.total() >= 4

            await until(both_in_work)
            assert not waiting.done()
            before = client.answers[1, 200]
            first.program.send_signal(signal.SIGTERM)

            async def ends() -> bool:
                return (await first.ask("GET /health")).status_code == 503

            await until(ends)
            assert not answering.done()
            beside.gates["slow"].set()
            assert await first.ended() == 0
            await waiting
            assert client.answers[1, 200] > before
            assert client.answers[0, 200] > 0
    assert answering.result().status_code == 200
    assert await ids(second) == {id_of(FRUIT), id_of(METAL)}
    assert await sample(second, "rag_store_writable") == 1
    assert "Traceback" not in "".join(first.log)


async def test_after_a_kill_the_follower_has_all_that_was_acknowledged(start: Start) -> None:
    first = await start()
    await first.ready()
    await put(first, FRUIT)
    second = await start()
    await second.ready()
    acknowledged = {id_of(FRUIT)}

    async def write() -> None:
        for number in range(10_000):
            text = f"Fact {number} is about thing {number * 7}."
            try:
                await put(first, text)
            except httpx.TransportError:
                return
            acknowledged.add(id_of(text))

    async with asyncio.TaskGroup() as group, asking(second) as client:
        group.create_task(write())

        async def enough() -> bool:
            return len(acknowledged) > 30

        await until(enough)
        first.program.kill()
        await first.program.wait()
        await put(second, STAR)
    assert client.answers[0, 200] > 0
    assert 30 < len(acknowledged) < 10_000
    assert await ids(second) >= acknowledged | {id_of(STAR)}
    assert await sample(second, "rag_store_writable") == 1


async def test_another_embedder_embeds_anew_before_it_is_healthy(
    start: Start, beside: Services
) -> None:
    first = await start()
    await first.ready()
    await put(first, FRUIT, METAL)
    beside.gates["other"] = asyncio.Event()
    second = await start(REMOTE_EMBEDDING_MODEL="other")
    await second.listens()
    await second.until("embedding 2 documents anew")
    health = await second.ask("GET /health")
    assert (health.status_code, health.json()["status"]) == (503, "Unhealthy")
    assert (await second.ask("POST /retrieve", {})).status_code == 503
    assert await scores(first) == cosines("tiny", FRUIT, METAL)
    await put(first, STAR)

    beside.gates["other"].set()
    await second.until("ready")

    async def followed() -> bool:
        return len(await scores(second)) == 3

    await until(followed)
    assert await scores(second) == cosines("other", FRUIT, METAL, STAR)
    assert await scores(first) == cosines("tiny", FRUIT, METAL, STAR)
    assert await first.stop() == 0
    await put(second, "Copper is a metal too.")
    every = (FRUIT, METAL, STAR, "Copper is a metal too.")
    assert await scores(second) == cosines("other", *every)
    assert await second.stop() == 0

    beside.embedded.clear()
    third = await start(REMOTE_EMBEDDING_MODEL="other")
    await third.ready()
    assert not {text for _, text in beside.embedded} & set(every)
    assert await scores(third) == cosines("other", *every)
