"""`python -m rag` from its start to its end, and what it finds again when it is started anew."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from rag.documents import id_of

from tests.integration.rag.rag_server_process import Process, Services, Start

FRUIT = "Apples are red fruit and grow on trees."
METAL = "Iron is a metal that rusts in water."
STAR = "The sun is a star of hydrogen and helium."


async def put(rag: Process, *texts: str) -> list[dict[str, Any]]:
    documents = [{"text": each, "metadata": {"n": n}} for n, each in enumerate(texts)]
    answer = await rag.ask("POST /index", {"index_name": "facts", "documents": documents})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def listed(rag: Process) -> list[tuple[str, str]]:
    answer = (await rag.ask("GET /indexes/facts/documents")).json()
    assert answer["count"] == answer["total_items"] == len(answer["documents"])
    return [(each["doc_id"], each["text"]) for each in answer["documents"]]


async def sample(rag: Process, line: str) -> float:
    text = (await rag.ask("GET /metrics")).text
    found = [each for each in text.splitlines() if each.startswith(f"{line} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


async def test_a_life(start: Start, beside: Services) -> None:
    rag = await start()
    await rag.ready()
    assert (await rag.ask("GET /health")).json() == {"status": "Healthy", "detail": None}
    assert (await rag.ask("GET /indexes")).json() == []

    made = await put(rag, FRUIT, METAL, STAR)
    assert [each["status"] for each in made] == ["created"] * 3
    assert [each["doc_id"] for each in made] == [id_of(each) for each in (FRUIT, METAL, STAR)]
    assert [each["status"] for each in await put(rag, FRUIT, METAL, STAR)] == ["unchanged"] * 3

    question = {"index_name": "facts", "query": "Which metal rusts?"}
    answer = await rag.ask("POST /retrieve", {**question, "max_node_count": 2})
    best = answer.json()["results"][0]
    assert (best["doc_id"], best["source"], best["position"]) == (id_of(METAL), "both", 0)
    assert METAL[best["start"] : best["end"]] == best["text"] == METAL
    assert answer.headers["server-timing"].startswith("embed;dur=")
    filtered = {**question, "metadata_filter": {"n": 0}}
    results = (await rag.ask("POST /retrieve", filtered)).json()["results"]
    assert [each["doc_id"] for each in results] == [id_of(FRUIT)]

    changed = {"documents": [{"doc_id": id_of(STAR), "text": "The sun is yellow."}]}
    answer = await rag.ask("POST /indexes/facts/documents", changed)
    assert [each["doc_id"] for each in answer.json()["updated_documents"]] == [id_of(STAR)]
    gone = {"doc_ids": [id_of(FRUIT), "other"]}
    answer = await rag.ask("POST /indexes/facts/documents/delete", gone)
    assert answer.json() == {"deleted_doc_ids": [id_of(FRUIT)], "not_found_doc_ids": ["other"]}
    left = [(id_of(METAL), METAL), (id_of(STAR), "The sun is yellow.")]
    assert await listed(rag) == left

    assert (await rag.ask("POST /persist/facts?path=copy")).status_code == 200
    await put(rag, "Something else.")
    assert (await rag.ask("POST /load/facts?path=copy")).status_code == 409
    answer = await rag.ask("POST /load/facts?path=copy&overwrite=true")
    assert answer.status_code == 200, answer.text
    assert await listed(rag) == left
    assert (await rag.ask("POST /load/facts?path=../../etc&overwrite=true")).status_code == 400

    chat = {"messages": [{"role": "user", "content": "Which metal rusts?"}], "model": "tiny"}
    answer = await rag.ask("POST /v1/chat/completions", {**chat, "index_name": "facts"})
    assert answer.status_code == 200, answer.text
    assert METAL in [each["text"] for each in answer.json()["source_nodes"]]
    assert METAL in json.dumps(beside.asked[-1])
    assert "index_name" not in beside.asked[-1]
    answer = await rag.ask("POST /v1/chat/completions", {**chat, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")

    assert await sample(rag, 'rag_load_requests_total{status="failure"}') == 2
    assert await sample(rag, 'rag_chat_requests_total{status="success"}') == 2
    assert await sample(rag, 'rag_embedding_requests_total{mode="remote",status="success"}') > 0
    assert await sample(rag, "rag_hybrid_top_score_count") >= 2
    assert await sample(rag, "rag_store_writable") == 1
    assert await rag.stop() == 0
    assert "Traceback" not in "".join(rag.log)

    again = await start()
    await again.ready()
    assert await listed(again) == left
    results = (await again.ask("POST /retrieve", question)).json()["results"]
    assert results[0]["doc_id"] == id_of(METAL)
    assert await again.stop() == 0


async def test_many_documents_with_word_of_progress(start: Start) -> None:
    rag = await start()
    await rag.ready()
    documents = [{"text": f"Fact {n} is about thing {n * 7}."} for n in range(2_000)]
    body = {"index_name": "facts", "documents": documents}
    answer = await rag.ask("POST /index", body, headers={"accept": "application/x-ndjson"})
    lines = [json.loads(each) for each in answer.text.splitlines()]
    assert lines[-1]["done"] == lines[-1]["total"] == 2_000
    assert len(lines) > 1
    assert sum(len(each["results"]) for each in lines) == 2_000
    assert (await rag.ask("GET /indexes/facts/documents?limit=1")).json()["total_items"] == 2_000


STUCK = """
import sys, threading
from rag import __main__ as program
from rag.ingest.chunking import Chunker
real = Chunker.cut
def cut(self, document, *more):
    if "stuck" in document.text:
        print("stuck", file=sys.stderr, flush=True)
        threading.Event().wait()
    return real(self, document, *more)
Chunker.cut = cut
sys.exit(program.main())
"""


async def test_the_end_waits_for_no_thread_that_nobody_needs(start: Start) -> None:
    rag = await start(sys.executable, "-c", STUCK)
    await rag.ready()
    await put(rag, FRUIT)
    body = {"index_name": "facts", "documents": [{"text": f"{METAL} stuck"}]}
    waiting = [asyncio.create_task(rag.ask("POST /index", body)) for _ in range(40)]
    for _ in range(32):  # as many threads as there are
        await rag.until("stuck")
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    async with asyncio.timeout(10):
        assert await rag.stop() == 0
    assert "stopped" in rag.log[-1]
    assert "Traceback" not in "".join(rag.log)
    again = await start()
    await again.ready()
    assert await listed(again) == [(id_of(FRUIT), FRUIT)]


async def test_texts_of_nothing_but_signs_are_indexed(start: Start) -> None:
    """Which NLTK gives up at, and llama-index takes minutes for; the others go in."""
    rag = await start()
    await rag.ready()
    made = await put(rag, FRUIT, ". " * 200_000, "!" * 20_000, "?? ???? ? " * 2_000, METAL)
    assert [each["status"] for each in made] == ["created"] * 5


async def test_who_embeds_may_come_later(start: Start, beside: Services) -> None:
    rag = await start(REMOTE_EMBEDDING_URL=f"{beside.url}/later")
    await rag.listens()
    assert (await rag.ask("GET /livez")).status_code == 200
    answer = await rag.ask("POST /retrieve", {"index_name": "facts", "query": "q"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    await rag.until("trying again in")
    health = await rag.ask("GET /health")
    assert (health.status_code, health.json()["status"]) == (503, "Unhealthy")
    assert "does not answer" in health.json()["detail"]
    answer = await rag.ask("GET /indexes")
    assert not answer.json()["detail"].endswith("..")
    answer = await rag.ask("GET /metrics")
    assert (answer.status_code, "rag_store_writable" in answer.text) == (200, True)
    assert await rag.stop() == 0


async def test_what_needs_no_vectors_is_answered_while_who_embeds_is_away(
    start: Start, beside: Services
) -> None:
    first = await start()
    await first.ready()
    await put(first, FRUIT, METAL)
    await first.stop()
    beside.down = True
    rag = await start(RAG_EMBEDDING_RETRIES="0")
    await rag.ready()
    assert (await rag.ask("GET /health")).status_code == 200
    assert len(await listed(rag)) == 2
    question = {"index_name": "facts", "query": "Which metal rusts?"}
    answer = await rag.ask("POST /retrieve", {**question, "mode": "sparse"})
    assert answer.json()["results"][0]["doc_id"] == id_of(METAL)
    chat = {"messages": [{"role": "user", "content": "Hello"}]}
    assert (await rag.ask("POST /v1/chat/completions", chat)).status_code == 200
    more = {"index_name": "facts", "documents": [{"text": STAR}]}
    for line, body in (("POST /retrieve", question), ("POST /index", more)):
        answer = await rag.ask(line, body)
        assert (answer.status_code, "answered 503" in answer.json()["detail"]) == (502, True)
    beside.down = False
    answer = await rag.ask("POST /retrieve", question)
    assert answer.json()["results"][0]["source"] == "both"
    assert (await rag.ask("POST /index", more)).status_code == 200
    assert len(await listed(rag)) == 3
    assert await rag.stop() == 0


async def test_who_embeds_comes_back_as_another(start: Start, beside: Services) -> None:
    """Which is found out at its first answer; the next start embeds anew, as any does."""
    first = await start()
    await first.ready()
    await put(first, FRUIT, METAL)
    await first.stop()
    beside.down = True
    other = {"REMOTE_EMBEDDING_MODEL": "other", "RAG_EMBEDDING_RETRIES": "0"}
    rag = await start(**other)
    await rag.ready()
    beside.down = False
    question = {"index_name": "facts", "query": "Which metal rusts?"}
    answer = await rag.ask("POST /retrieve", question)
    assert (answer.status_code, "another model" in answer.json()["detail"]) == (502, True)
    assert await rag.ended() == 1
    again = await start(**other)
    await again.ready()
    assert ("other", METAL) in beside.embedded
    answer = await again.ask("POST /retrieve", question)
    assert answer.json()["results"][0]["doc_id"] == id_of(METAL)


async def test_a_stream_ends_in_peace_and_nobody_new_is_refused_at_once(start: Start) -> None:
    rag = await start(RAG_STOP_DELAY_SECONDS="1")
    await rag.ready()
    await put(rag, FRUIT)
    rag.program.send_signal(signal.SIGTERM)
    while (await rag.ask("GET /health")).status_code == 200:
        await asyncio.sleep(0)
    answer = await rag.ask("POST /retrieve", {"index_name": "facts", "query": "fruit"})
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert await rag.ended() == 0


async def test_answers_are_guarded(start: Start, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "action: redact\nblockMessage: Not that.\nscanners:\n"
        "- {type: ban_substrings, substrings: ['is so']}\n"
    )
    rag = await start(OUTPUT_GUARDRAILS_ENABLED="true", OUTPUT_GUARDRAILS_POLICY_PATH=str(policy))
    await rag.ready()
    await put(rag, METAL)
    chat = {"messages": [{"role": "user", "content": "Which metal rusts?"}], "model": "tiny"}
    for body in (chat, {**chat, "index_name": "facts"}):
        answer = await rag.ask("POST /v1/chat/completions", body)
        message = answer.json()["choices"][0]["message"]
        assert message["content"] == "It [REDACTED] [1]."
        answer = await rag.ask("POST /v1/chat/completions", {**body, "stream": True})
        events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
        assert events.pop() == "[DONE]"
        choices = [each for event in events for each in json.loads(event)["choices"]]
        told = "".join(each["delta"].get("content") or "" for each in choices)
        assert told == "It [REDACTED]."
    assert await sample(rag, 'output_guardrails_actions_total{action="redact"}') == 4
    hits = 'ragengine_guardrails_response_scanner_hits_total{action="redact",'
    assert await sample(rag, f'{hits}scanner_type="ban_substrings"}}') == 4
    assert await sample(rag, 'output_guardrails_policy_load_total{policy_status="success"}') == 1


async def test_nobody_answers_who_left(start: Start, beside: Services) -> None:
    rag = await start()
    await rag.ready()
    beside.gates["slow"] = asyncio.Event()
    chat = {"messages": [{"role": "user", "content": "Well?"}], "model": "slow"}
    asking = asyncio.create_task(rag.ask("POST /v1/chat/completions", chat))
    async with asyncio.timeout(30):
        while not beside.asked:
            await asyncio.sleep(0.01)
        asking.cancel()
        while not beside.left:
            await asyncio.sleep(0.01)
    assert await sample(rag, 'rag_chat_requests_total{status="failure"}') == 1
    assert await rag.stop() == 0
    assert "Traceback" not in "".join(rag.log)


@pytest.mark.parametrize(
    ("environment", "code", "told"),
    [
        (
            {"RAG_PORT": "many", "VECTOR_DB_TYPE": "none"},
            2,
            [
                "RAG_PORT: 'many' does not fit; set it to a whole number from 0 to 65535",
                "VECTOR_DB_TYPE: 'none' does not fit; set it to faiss or qdrant",
            ],
        ),
        ({"DEFAULT_VECTOR_DB_PERSIST_DIR": "/proc/nowhere"}, 1, ["cannot start: "]),
        ({"RAG_HOST": "192.0.2.1"}, 1, ["cannot listen on 192.0.2.1:0: "]),
    ],
    ids=["settings", "directory", "address"],
)
async def test_what_cannot_work_ends_with_a_clear_line(
    environment: dict[str, str], code: int, told: list[str], start: Start
) -> None:
    rag = await start(**environment)
    assert await rag.ended() == code
    log = "".join(rag.log)
    assert "Traceback" not in log
    for each in told:
        assert each in log
