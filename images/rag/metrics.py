"""What Prometheus is told: KAITO's names, and what they promise.

One registry an app, so that two in a process count for themselves. Counters of requests call an
answer of 400 and above a failure; upstream's call it a success.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from rag.documents import Hit, Mode

OPERATIONS = {
    "rag_chat": "POST /v1/chat/completions",
    "rag_index": "POST /index",
    "rag_indexes": "GET /indexes",
    "rag_indexes_document": "GET /indexes/{index_name}/documents",
    "rag_indexes_update_document": "POST /indexes/{index_name}/documents",
    "rag_indexes_delete_document": "POST /indexes/{index_name}/documents/delete",
    "rag_indexes_retrieve": "POST /retrieve",
    "rag_persist": "POST /persist/{index_name}",
    "rag_load": "POST /load/{index_name}",
    "rag_delete_index": "DELETE /indexes/{index_name}",
}
"""What is counted and timed each by itself."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_STORE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SCORES = (0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_FUSED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_SPREAD = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
_COUNTS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 300)


class Metrics:
    """All of an app's."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Requests(self.registry)
        self.retrieval = Retrieval(self.registry)
        self.guardrails = GuardrailMetrics(self.registry)
        self._embedding = _Timed(
            self.registry, "rag_embedding", "Embedding of texts", ("status", "mode"), _SECONDS
        )
        self.files = StoreMetrics(self.registry)
        self._store = Histogram(
            "rag_vector_store_operation_latency_seconds",
            "What insert, delete and query take in the store.",
            ["operation", "status"],
            buckets=_STORE_SECONDS,
            registry=self.registry,
        )

    @contextmanager
    def embedding(self, mode: str) -> Iterator[None]:
        """Around a call of the embedder; `mode` is local or remote."""
        begun, status = perf_counter(), "failure"
        try:
            yield
            status = "success"
        finally:
            self._embedding.observe(perf_counter() - begun, status, mode)

    @contextmanager
    def store(self, *operations: str) -> Iterator[None]:
        """Around a call of the store, of `insert`, `delete` or `query`."""
        begun, status = perf_counter(), "failure"
        try:
            yield
            status = "success"
        finally:
            for each in operations:
                self._store.labels(each, status).observe(perf_counter() - begun)


class Requests:
    """By operation, and all of them together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.running = Gauge(
            "num_requests_running", "Requests that are in work.", registry=registry
        )
        self._operations = {
            name: _Timed(registry, name, f"Requests of {route}", ("status",), _SECONDS)
            for name, route in OPERATIONS.items()
        }
        self._all = Counter(
            "e2e_request_total", "All requests by their end.", ["status"], registry=registry
        )
        self._all_seconds = Histogram(
            "e2e_request_latency_seconds",
            "From a request's first byte to the last of its answer.",
            ["status"],
            buckets=_SECONDS,
            registry=registry,
        )

    def observe(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Of no operation where that is empty."""
        status = "failure" if failed else "success"
        self._all.labels(status).inc()
        self._all_seconds.labels(status).observe(seconds)
        if operation:
            self._operations[operation].observe(seconds, status)


class Retrieval:
    """How good and how many what is found is, by the scores of `rag.documents.Hit`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, words: str, buckets: Sequence[float] = _COUNTS) -> Histogram:
            return Histogram(name, words, buckets=buckets, registry=registry)

        hybrid = "rag_hybrid"
        self._count = histogram("rag_retrieve_result_count", "Chunks found by one retrieval.")
        self._lowest = histogram("rag_lowest_source_score", "The worst score found.", _SCORES)
        self._average = histogram("rag_avg_source_score", "The mean score found.", _SCORES)
        self._modes = Counter(
            f"{hybrid}_search_mode_total",
            "Retrievals by mode: hybrid, dense_only, sparse_only.",
            ["search_mode"],
            registry=registry,
        )
        self._seconds = histogram(
            f"{hybrid}_retrieve_latency_seconds", "A hybrid retrieval.", _SECONDS
        )
        self._top = histogram(f"{hybrid}_top_score", "The best score found.", _FUSED)
        self._median = histogram(f"{hybrid}_median_score", "The median score found.", _FUSED)
        self._spread = histogram(f"{hybrid}_score_spread", "Best less worst score.", _SPREAD)
        self._asked = histogram(f"{hybrid}_top_k_requested", "How many were asked for.")
        self._sparse_asked = histogram(
            f"{hybrid}_sparse_top_k", "How many were asked of BM25, at least."
        )
        self._dense = histogram(f"{hybrid}_dense_candidates", "Found by their vectors.")
        self._sparse = histogram(f"{hybrid}_sparse_candidates", "Found by their words.")
        self._sources = {
            "both": histogram(f"{hybrid}_overlap_count", "Found by both."),
            "dense_only": histogram(f"{hybrid}_dense_only_count", "Found by vectors alone."),
            "sparse_only": histogram(f"{hybrid}_sparse_only_count", "Found by words alone."),
        }

    def observe(self, hits: Sequence[Hit], mode: Mode, top_k: int, seconds: float) -> None:
        scores = [each.score for each in hits]
        self._modes.labels(mode if mode == "hybrid" else f"{mode}_only").inc()
        self._count.observe(len(hits))
        if scores:
            self._lowest.observe(min(scores))
            self._average.observe(statistics.fmean(scores))
        if mode == "hybrid":
            self._observe_hybrid(hits, scores, top_k, seconds)

    def _observe_hybrid(
        self, hits: Sequence[Hit], scores: Sequence[float], top_k: int, seconds: float
    ) -> None:
        self._seconds.observe(seconds)
        self._asked.observe(top_k)
        self._sparse_asked.observe(top_k)
        self._dense.observe(sum(each.source != "sparse_only" for each in hits))
        self._sparse.observe(sum(each.source != "dense_only" for each in hits))
        for source, histogram in self._sources.items():
            histogram.observe(sum(each.source == source for each in hits))
        if scores:
            self._top.observe(max(scores))
            self._median.observe(statistics.median(scores))
            self._spread.observe(max(scores) - min(scores))


class StoreMetrics:
    """Of a store in files: who may write, what people should look at, and copies elsewhere."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._writable = Gauge(
            "rag_store_writable", "1 where this process holds the files.", registry=registry
        )
        self._problems = Gauge(
            "rag_store_problems",
            "Files set aside, uploads that fail: see the log.",
            registry=registry,
        )
        self._uploads = Histogram(
            "rag_store_upload_seconds",
            "Uploads of snapshots to the object store.",
            ["status"],
            buckets=_SECONDS,
            registry=registry,
        )

    def watch(self, writable: Callable[[], bool], problems: Callable[[], Sequence[str]]) -> None:
        """Asked whenever Prometheus asks."""
        self._writable.set_function(lambda: float(writable()))
        self._problems.set_function(lambda: float(len(problems())))

    def uploaded(self, succeeded: bool, seconds: float) -> None:
        self._uploads.labels("success" if succeeded else "failure").observe(seconds)


class GuardrailMetrics:
    """As upstream counts them; whoever scans calls these."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(name, words, labels, registry=registry)

        self.policy_load = counter(
            "output_guardrails_policy_load_total",
            "Policies read: success, missing, invalid, load_failed.",
            "policy_status",
        )
        self.scanner_build = counter(
            "output_guardrails_scanner_build_total", "Scanners made.", "type", "status"
        )
        self.actions = counter(
            "output_guardrails_actions_total", "Answers redacted or blocked.", "action"
        )
        self.hits = counter(
            "ragengine_guardrails_response_scanner_hits_total",
            "Scanners that found something.",
            "scanner_type",
            "action",
        )
        self.final_actions = counter(
            "ragengine_guardrails_response_actions_total",
            "What became of each answer.",
            "final_action",
        )
        self.reloads = counter(
            "guardrails_policy_reload_total",
            "Policies read anew: success, failure, noop.",
            "result",
        )
        self.loaded_at = Gauge(
            "guardrails_policy_loaded_timestamp_seconds",
            "When the policy in force was read.",
            registry=registry,
        )
        self.active = Gauge(
            "guardrails_active_policy_info",
            "The policy in force.",
            ["path", "sha256", "enabled", "scanner_count"],
            registry=registry,
        )


def exposed(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """As Prometheus reads it, and the type of that."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Timed:
    """`NAME_latency_seconds` and `NAME_requests_total`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        words: str,
        labels: Sequence[str],
        buckets: Sequence[float],
    ) -> None:
        self._seconds = Histogram(
            f"{name}_latency_seconds", f"{words}: how long.", labels, buckets=buckets,
            registry=registry,
        )  # fmt: skip
        self._count = Counter(
            f"{name}_requests_total", f"{words}: how many.", labels, registry=registry
        )

    def observe(self, seconds: float, *labels: str) -> None:
        self._seconds.labels(*labels).observe(seconds)
        self._count.labels(*labels).inc()
