"""What scalers and dashboards ask, under the meanings of vLLM's metrics and names of our own."""

from __future__ import annotations

import time

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from serving.transformers.sequence import Sequence

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)

RUNNING = Gauge("kaito_num_requests_running", "Answers that the model works on.")
WAITING = Gauge("kaito_num_requests_waiting", "Answers that wait for a place.")
CACHE = Gauge("kaito_kv_cache_usage_perc", "Share of the cache's tokens in use, 0 to 1.")
PREEMPTIONS = Counter("kaito_num_preemptions", "Answers that gave way and were read anew.")
PROMPT_TOKENS = Counter("kaito_prompt_tokens", "Tokens of prompts.")
GENERATION_TOKENS = Counter("kaito_generation_tokens", "Tokens of answers.")
FINISHED = Counter("kaito_request_success", "Answers that ended, by why.", ["finished_reason"])
FIRST_TOKEN = Histogram(
    "kaito_time_to_first_token_seconds", "From the request to its first token.", buckets=_SECONDS
)
BETWEEN_TOKENS = Histogram(
    "kaito_inter_token_latency_seconds", "Between two tokens of an answer.", buckets=_SECONDS
)
QUEUED = Histogram(
    "kaito_request_queue_time_seconds", "From the request to its first step.", buckets=_SECONDS
)
LATENCY = Histogram(
    "kaito_e2e_request_latency_seconds", "From the request to its last token.", buckets=_SECONDS
)


def token(sequence: Sequence, now: float) -> None:
    """One token has come."""
    GENERATION_TOKENS.inc()
    if sequence.last:
        BETWEEN_TOKENS.observe(now - sequence.last)
    else:
        PROMPT_TOKENS.inc(len(sequence.prompt))
        FIRST_TOKEN.observe(now - sequence.asked)
        QUEUED.observe(sequence.begun - sequence.asked)
    sequence.last = now


def ended(sequence: Sequence, reason: str) -> None:
    FINISHED.labels(reason).inc()
    if reason in ("stop", "length"):
        LATENCY.observe(time.monotonic() - sequence.asked)


def text() -> bytes:
    """As Prometheus reads it."""
    return generate_latest(REGISTRY)
