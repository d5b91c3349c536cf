"""Upstream's routes: bodies, answers and texts as its clients know them, in one table; and beside
each fault of upstream's what is answered instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from rag.chat.replies import Answer
from rag.documents import id_of

from tests.unit.rag.http.fakes import World

ONE, TWO = id_of("one"), id_of("two")
UNKNOWN = {"detail": "No such index: 'nope' exists."}


def document(text: str, /, **changes: Any) -> dict[str, Any]:
    known = {"doc_id": id_of(text), "text": text, "metadata": {}, "hash_value": None}
    return {**known, "is_truncated": False, **changes}


def node(text: str, score: float, at: int) -> dict[str, Any]:
    return {
        "doc_id": id_of(text), "node_id": f"node-{at}", "text": text, "score": score,
        "dense_score": 0.5, "sparse_score": None, "source": "dense_only", "metadata": {"n": 1},
        "position": 0, "start": 0, "end": len(text),
    }  # fmt: skip


def new(text: str) -> dict[str, Any]:
    return {**document(text), "status": "created", "error": None}


@dataclass(frozen=True)
class Row:
    ask: str
    body: Any
    status: int
    answer: Any
    query: dict[str, Any] = field(default_factory=dict)


def fault(kind: str, message: str, *where: str | int, **context: Any) -> dict[str, Any]:
    told = {"loc": list(where), "msg": message, "type": kind}
    return {"detail": [{**told, "ctx": context} if context else told]}


MISSING = "Field required"
INTEGER = "Input should be a valid integer, unable to parse string as an integer"

ROWS = {
    "health": Row("GET /health", None, 200, {"status": "Healthy", "detail": None}),
    "live": Row("GET /livez", None, 200, {"status": "Alive"}),
    "put": Row("POST /index", {"index_name": "b", "documents": [{"text": "x"}]}, 200, [new("x")]),
    "put, and a client's own id is not taken": Row(
        "POST /index",
        {"index_name": "b", "documents": [{"text": "x", "doc_id": "mine"}]},
        200,
        [new("x")],
    ),
    "put, metadata null (upstream: 500)": Row(
        "POST /index",
        {"index_name": "b", "documents": [{"text": "x", "metadata": None}]},
        200,
        [new("x")],
    ),
    "put nothing": Row("POST /index", {"index_name": "new", "documents": []}, 200, []),
    "put without a name": Row(
        "POST /index", {"documents": []}, 422, fault("missing", MISSING, "body", "index_name")
    ),
    "put without text": Row(
        "POST /index",
        {"index_name": "b", "documents": [{"text": "x"}, {}]},
        422,
        fault("missing", MISSING, "body", "documents", 1, "text"),
    ),
    "put metadata that is a list": Row(
        "POST /index",
        {"index_name": "b", "documents": [{"text": "x", "metadata": []}]},
        422,
        fault(
            "dict_type", "Input should be a valid dictionary", "body", "documents", 0, "metadata"
        ),
    ),
    "put, name with a slash": Row(
        "POST /index",
        {"index_name": "a/b", "documents": []},
        422,
        fault("value_error", "Index name must not contain '/'", "body", "index_name"),
    ),
    "put, name empty": Row(
        "POST /index",
        {"index_name": "", "documents": []},
        422,
        fault("value_error", "Index name must have 1 to 253 characters", "body", "index_name"),
    ),
    "names": Row("GET /indexes", None, 200, ["a"]),
    "list": Row(
        "GET /indexes/a/documents",
        None,
        200,
        {
            "documents": [
                document("one", metadata={"n": 1}, hash_value=...),
                document("two", metadata={"n": 1}, hash_value=...),
            ],
            "count": 2,
            "total_items": 2,
        },
    ),
    "list a page, cut": Row(
        "GET /indexes/a/documents",
        None,
        200,
        {
            "documents": [
                document("two", text="tw", metadata={"n": 1}, hash_value=..., is_truncated=True)
            ],
            "count": 1,
            "total_items": 2,
        },
        {"limit": 1, "offset": 1, "max_text_length": 2},
    ),
    "list, nothing matches": Row(
        "GET /indexes/a/documents",
        None,
        200,
        {"documents": [], "count": 0, "total_items": 0},
        {"metadata_filter": '{"n": 2}'},
    ),
    "list an unknown index": Row("GET /indexes/nope/documents", None, 404, UNKNOWN),
    "list, limit 0": Row(
        "GET /indexes/a/documents",
        None,
        422,
        fault(
            "greater_than_equal",
            "Input should be greater than or equal to 1",
            "query",
            "limit",
            ge=1,
        ),
        {"limit": 0},
    ),
    "list, limit 101": Row(
        "GET /indexes/a/documents",
        None,
        422,
        fault(
            "less_than_equal",
            "Input should be less than or equal to 100",
            "query",
            "limit",
            le=100,
        ),
        {"limit": 101},
    ),
    "list, offset no number": Row(
        "GET /indexes/a/documents",
        None,
        422,
        fault("int_parsing", INTEGER, "query", "offset"),
        {"offset": "x"},
    ),
    "list, filter no JSON": Row(
        "GET /indexes/a/documents",
        None,
        400,
        {"detail": "Invalid metadata filter format. Must be a valid JSON string."},
        {"metadata_filter": "{"},
    ),
    "list, filter no object (upstream: 500)": Row(
        "GET /indexes/a/documents",
        None,
        400,
        {"detail": "Invalid metadata filter format. Must be a valid JSON string."},
        {"metadata_filter": "[1]"},
    ),
    "update": Row(
        "POST /indexes/a/documents",
        {
            "documents": [
                {"doc_id": ONE, "text": "uno"},
                {"doc_id": TWO, "text": "two", "metadata": {"n": 1}},
                {"doc_id": "other", "text": "x"},
            ]
        },
        200,
        {
            "updated_documents": [document("one", text="uno", hash_value=...)],
            "unchanged_documents": [document("two", metadata={"n": 1}, hash_value=...)],
            "not_found_documents": [document("x", doc_id="other", hash_value=...)],
            "failed_documents": [],
        },
    ),
    "update in an unknown index": Row(
        "POST /indexes/nope/documents", {"documents": []}, 404, UNKNOWN
    ),
    "delete documents, one of them twice": Row(
        "POST /indexes/a/documents/delete",
        {"doc_ids": [ONE, "other", ONE]},
        200,
        {"deleted_doc_ids": [ONE], "not_found_doc_ids": ["other"]},
    ),
    "delete documents of an unknown index": Row(
        "POST /indexes/nope/documents/delete", {"doc_ids": []}, 404, UNKNOWN
    ),
    "drop": Row("DELETE /indexes/a", None, 200, {"message": "Successfully deleted index a."}),
    "drop an unknown index": Row("DELETE /indexes/nope", None, 404, UNKNOWN),
    "persist": Row(
        "POST /persist/a", None, 200, {"message": "Successfully persisted index a to /data/a."}
    ),
    "persist to a path": Row(
        "POST /persist/a",
        None,
        200,
        {"message": "Successfully persisted index a to /data/copies/a."},
        {"path": "copies/a"},
    ),
    "persist an unknown index": Row("POST /persist/nope", None, 404, UNKNOWN),
    "load what is not there": Row(
        "POST /load/nope", None, 404, {"detail": "Path does not exist: /data/nope"}
    ),
    "load over an index (upstream: 500)": Row(
        "POST /load/a",
        None,
        409,
        {"detail": "Index a already exists. Use a different name."},
        {"path": "saved"},
    ),
    "load over an index that may be replaced": Row(
        "POST /load/a",
        None,
        200,
        {"message": "Successfully loaded index a from /data/saved."},
        {"path": "saved", "overwrite": "true"},
    ),
    "load, overwrite no flag": Row(
        "POST /load/a",
        None,
        422,
        fault(
            "bool_parsing",
            "Input should be a valid boolean, unable to interpret input",
            "query",
            "overwrite",
        ),
        {"overwrite": "perhaps"},
    ),
    "retrieve": Row(
        "POST /retrieve",
        {"index_name": "a", "query": "which?"},
        200,
        {
            "query": "which?",
            "results": [node("one", 1.0, 0), node("two", 0.5, 1)],
            "count": 2,
        },
    ),
    "retrieve one, by metadata (upstream: 500)": Row(
        "POST /retrieve",
        {"index_name": "a", "query": "q", "max_node_count": 1, "metadata_filter": {"n": 1}},
        200,
        {"query": "q", "results": [node("one", 1.0, 0)], "count": 1},
    ),
    "retrieve by an empty question": Row(
        "POST /retrieve",
        {"index_name": "a", "query": ""},
        400,
        {"detail": "Query string cannot be empty."},
    ),
    "retrieve from an unknown index": Row(
        "POST /retrieve", {"index_name": "nope", "query": "q"}, 404, UNKNOWN
    ),
    "retrieve none": Row(
        "POST /retrieve",
        {"index_name": "a", "query": "q", "max_node_count": 0},
        422,
        fault(
            "greater_than_equal",
            "Input should be greater than or equal to 1",
            "body",
            "max_node_count",
            ge=1,
        ),
    ),
    "retrieve too many": Row(
        "POST /retrieve",
        {"index_name": "a", "query": "q", "max_node_count": 301},
        422,
        fault(
            "less_than_equal",
            "Input should be less than or equal to 300",
            "body",
            "max_node_count",
            le=300,
        ),
    ),
    "retrieve in a mode that is none": Row(
        "POST /retrieve",
        {"index_name": "a", "query": "q", "mode": "best"},
        422,
        fault(
            "literal_error",
            "Input should be 'hybrid', 'dense' or 'sparse'",
            "body",
            "mode",
            expected="'hybrid', 'dense' or 'sparse'",
        ),
    ),
    "chat": Row(
        "POST /v1/chat/completions",
        {"messages": [{"role": "user", "content": "hi"}]},
        200,
        {"id": "1", "source_nodes": None},
    ),
    "chat with what is no object": Row(
        "POST /v1/chat/completions",
        [1],
        422,
        fault("dict_type", "Input should be a valid dictionary", "body"),
    ),
    "no such route": Row("GET /nowhere", None, 404, {"detail": "Not Found"}),
    "no such method": Row("PUT /index", {}, 405, {"detail": "Method Not Allowed"}),
    "a name with a slash": Row("GET /indexes/a%2Fb/documents", None, 404, {"detail": "Not Found"}),
}


def matches(found: Any, wanted: Any) -> bool:
    """Equal, with ... for what may be anything but nothing."""
    if wanted is ...:
        return bool(found)
    if isinstance(wanted, dict) and isinstance(found, dict):
        return list(found) == list(wanted) and all(matches(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(matches, found, wanted))
    return bool(found == wanted) and type(found) is type(wanted)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_the_answer_is(row: Row, world: World) -> None:
    await world.has("a", "one", "two", n=1)
    world.store.snapshots["saved"] = {}
    answer = await world.ask(row.ask, row.body, params=row.query or None)
    assert answer.status_code == row.status, answer.text
    assert matches(answer.json(), row.answer), answer.text


async def test_nothing_is_made_by_no_documents(world: World) -> None:
    await world.ask("POST /index", {"index_name": "new", "documents": []})
    assert (await world.ask("GET /indexes")).json() == []


async def test_an_inference_services_own_answer_keeps_its_status(world: World) -> None:
    world.chat.reply = Answer(418, {"error": {"message": "no"}}, {"Server-Timing": "embed;dur=1"})
    answer = await world.ask("POST /v1/chat/completions", {"messages": []})
    assert (answer.status_code, answer.json()) == (418, {"error": {"message": "no"}})
    assert answer.headers["server-timing"] == "embed;dur=1"


async def test_retrieval_says_what_it_took_and_passes_all_on(world: World) -> None:
    await world.has("a", "one")
    body = {"index_name": "a", "query": "q", "mode": "sparse", "rerank": True}
    answer = await world.ask("POST /retrieve", {**body, "metadata_filter": {"x": 1}})
    assert answer.headers["server-timing"] == "embed;dur=1.5, search;dur=0.5"
    assert world.retriever.asked == [
        {"text": "q", "top_k": 5, "mode": "sparse", "filter": {"x": 1}, "rerank": True}
    ]
