"""KAITO's metrics: by name, and counted as they promise."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from rag.documents import Batch, Document, EmbeddedDocument, Hit, Query
from rag.errors import EmbedderError
from rag.measured import MeasuredEmbedder, MeasuredRetriever, MeasuredStore
from rag.metrics import OPERATIONS, Metrics
from rag.observing import operation_of

from tests.unit.rag.http.fakes import SPEC, FakeEmbedder, FakeRetriever, FakeStore, World

NAMES = [  # of upstream, besides those of OPERATIONS
    "rag_embedding_latency_seconds",
    "rag_embedding_requests_total",
    "e2e_request_total",
    "e2e_request_latency_seconds",
    "num_requests_running",
    "rag_vector_store_operation_latency_seconds",
    "rag_retrieve_result_count",
    "rag_lowest_source_score",
    "rag_avg_source_score",
    "rag_hybrid_search_mode_total",
    "rag_hybrid_retrieve_latency_seconds",
    "rag_hybrid_top_score",
    "rag_hybrid_median_score",
    "rag_hybrid_score_spread",
    "rag_hybrid_top_k_requested",
    "rag_hybrid_sparse_top_k",
    "rag_hybrid_dense_candidates",
    "rag_hybrid_sparse_candidates",
    "rag_hybrid_overlap_count",
    "rag_hybrid_dense_only_count",
    "rag_hybrid_sparse_only_count",
    "output_guardrails_policy_load_total",
    "output_guardrails_scanner_build_total",
    "output_guardrails_actions_total",
    "ragengine_guardrails_response_scanner_hits_total",
    "ragengine_guardrails_response_actions_total",
    "guardrails_policy_reload_total",
    "guardrails_policy_loaded_timestamp_seconds",
    "guardrails_active_policy_info",
]


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_all_of_upstreams_are_there(world: World) -> None:
    text = (await world.ask("GET /metrics")).text
    for operation in OPERATIONS:
        assert f"# TYPE {operation}_latency_seconds histogram" in text
        assert f"# TYPE {operation}_requests_total counter" in text
    for name in NAMES:
        assert f"# HELP {name} " in text, name
    assert "process_resident_memory_bytes" in text


async def test_in_the_text_format_or_openmetrics(world: World) -> None:
    answer = await world.ask("GET /metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    asks = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = await world.ask("GET /metrics", headers=asks)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_found_by_its_route(name: str) -> None:
    method, _, path = OPERATIONS[name].partition(" ")
    assert operation_of(method, path.replace("{index_name}", "a b.c")) == name


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/index"), ("GET", "/"), ("POST", "/indexes/a/documents/x")]
)
def test_others_have_none(method: str, path: str) -> None:
    assert operation_of(method, path) == ""


async def test_an_answer_of_400_and_above_is_a_failure(world: World) -> None:
    await world.has("a", "one")
    for name in ("a", "nope", "nope"):
        await world.ask("POST /retrieve", {"index_name": name, "query": "q"})
    metrics = world.parts.metrics
    requests = "rag_indexes_retrieve_requests_total"
    assert value(metrics, requests, status="success") == 1
    assert value(metrics, requests, status="failure") == 2
    assert value(metrics, "rag_index_latency_seconds_count", status="success") == 1
    assert value(metrics, "e2e_request_total", status="success") == 2
    assert value(metrics, "e2e_request_total", status="failure") == 2
    assert value(metrics, "e2e_request_latency_seconds_count", status="failure") == 2


async def test_probes_are_not_counted(world: World) -> None:
    for path in ("/health", "/livez", "/metrics", "/docs"):
        await world.ask(f"GET {path}")
    assert value(world.parts.metrics, "e2e_request_total", status="success") == 0


def test_two_apps_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.requests.observe("rag_chat", 1.0, failed=False)
    assert value(other, "rag_chat_requests_total", status="success") == 0


async def test_embedding_is_timed_by_mode() -> None:
    metrics = Metrics()
    embedder = MeasuredEmbedder(FakeEmbedder(), metrics, "remote")
    await embedder.embed_query("a")
    await embedder.embed_documents(["a", "b"])
    total = "rag_embedding_requests_total"
    assert value(metrics, total, status="success", mode="remote") == 2

    class Down(FakeEmbedder):
        async def embed_query(self, text: str) -> Any:
            raise EmbedderError("down")

    with pytest.raises(EmbedderError):
        await MeasuredEmbedder(Down(), metrics, "remote").embed_query("a")
    assert value(metrics, total, status="failure", mode="remote") == 1


def test_the_store_is_timed_by_operation() -> None:
    metrics = Metrics()
    store = MeasuredStore(FakeStore(), metrics)
    index = store.create("a", SPEC)
    document = EmbeddedDocument(Document("1", "x"), (), np.zeros((0, 2), np.float32))
    index.apply(Batch((document,)))
    index.apply(Batch(delete=("1",)))
    store._store.get("a").may_search.set()  # type: ignore[attr-defined]
    list(index.search([Query("q", None, 1, "sparse")]))
    seconds = "rag_vector_store_operation_latency_seconds_count"
    for each in ("insert", "delete", "query"):
        assert value(metrics, seconds, operation=each, status="success") == 1
    assert store.get("a") is index  # searches are gathered by it
    store.drop("a")
    assert store.create("a", SPEC) is not index


def test_an_index_that_is_gone_is_not_held() -> None:
    """Whoever dropped it: as a follower, nobody here did."""
    store = FakeStore()
    measured = MeasuredStore(store, Metrics())
    measured.create("a", SPEC)
    index = measured.get("a")
    assert measured.get("a") is index
    here = weakref.ref(store.indexes.pop("a"))
    del index
    gc.collect()
    assert here() is None


def hit(score: float, source: Any) -> Hit:
    sparse = None if source == "dense_only" else 7.0
    return Hit("d", "n", 0, 0, 1, "x", {}, score, 0.5, sparse, source)


def test_what_is_found_is_counted_and_scored() -> None:
    metrics = Metrics()
    hits = [hit(0.9, "both"), hit(0.5, "dense_only"), hit(0.1, "sparse_only")]
    metrics.retrieval.observe(hits, "hybrid", 5, 0.01)
    sums = {
        "rag_retrieve_result_count": 3, "rag_lowest_source_score": 0.1,
        "rag_avg_source_score": 0.5, "rag_hybrid_top_score": 0.9, "rag_hybrid_median_score": 0.5,
        "rag_hybrid_score_spread": 0.8, "rag_hybrid_top_k_requested": 5,
        "rag_hybrid_sparse_top_k": 5, "rag_hybrid_dense_candidates": 2,
        "rag_hybrid_sparse_candidates": 2, "rag_hybrid_overlap_count": 1,
        "rag_hybrid_dense_only_count": 1, "rag_hybrid_sparse_only_count": 1,
        "rag_hybrid_retrieve_latency_seconds": 0.01,
    }  # fmt: skip
    for name, wanted in sums.items():
        assert value(metrics, f"{name}_sum") == pytest.approx(wanted), name
        assert value(metrics, f"{name}_count") == 1
    metrics.retrieval.observe([], "dense", 5, 0.01)
    modes = "rag_hybrid_search_mode_total"
    assert value(metrics, modes, search_mode="hybrid") == 1
    assert value(metrics, modes, search_mode="dense_only") == 1
    assert value(metrics, "rag_hybrid_top_k_requested_count") == 1


async def test_every_retrieval_is_observed_who_ever_asks() -> None:
    metrics, store = Metrics(), FakeStore()
    store.create("a", SPEC)
    retriever = MeasuredRetriever(FakeRetriever(store), metrics)
    found = await retriever.retrieve("a", "q", top_k=3)
    assert list(found.hits) == []
    assert value(metrics, "rag_retrieve_result_count_count") == 1
    assert value(metrics, "rag_hybrid_top_k_requested_sum") == 3
