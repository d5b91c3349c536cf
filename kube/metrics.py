"""The process's metrics, under the names that client-go and controller-runtime use.

Dashboards made for Go controllers read them unchanged. Other packages register with `REGISTRY`.
"""

from __future__ import annotations

import importlib.metadata

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Each counter and histogram would bring a second family with its time of birth, which nobody reads.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=True)
prometheus_client.ProcessCollector(registry=REGISTRY)
prometheus_client.PlatformCollector(registry=REGISTRY)

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

# client-go's ExponentialBuckets(10e-9, 10, 12), and controller-runtime's own list.
_QUEUE_SECONDS = tuple(10.0**exponent for exponent in range(-8, 4))
_RECONCILE_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8),
    *(0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30),
    *(40, 50, 60),
)

WORKQUEUE_DEPTH = Gauge("workqueue_depth", "Keys that wait", ["name"], registry=REGISTRY)
WORKQUEUE_ADDS = Counter("workqueue_adds", "Keys added", ["name"], registry=REGISTRY)
WORKQUEUE_RETRIES = Counter("workqueue_retries", "Keys added again", ["name"], registry=REGISTRY)
WORKQUEUE_QUEUE_SECONDS = Histogram(
    "workqueue_queue_duration_seconds",
    "How long a key waits before it is taken",
    ["name"],
    buckets=_QUEUE_SECONDS,
    registry=REGISTRY,
)
WORKQUEUE_WORK_SECONDS = Histogram(
    "workqueue_work_duration_seconds",
    "How long a key is worked on",
    ["name"],
    buckets=_QUEUE_SECONDS,
    registry=REGISTRY,
)
WORKQUEUE_UNFINISHED = Gauge(
    "workqueue_unfinished_work_seconds",
    "Seconds of work in progress, over all workers",
    ["name"],
    registry=REGISTRY,
)
WORKQUEUE_LONGEST = Gauge(
    "workqueue_longest_running_processor_seconds",
    "Seconds that the longest running worker has been at it",
    ["name"],
    registry=REGISTRY,
)

RECONCILES = Counter(
    "controller_runtime_reconcile", "Reconciles", ["controller", "result"], registry=REGISTRY
)
RECONCILE_ERRORS = Counter(
    "controller_runtime_reconcile_errors",
    "Reconciles that failed",
    ["controller"],
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "controller_runtime_reconcile_time_seconds",
    "How long a reconcile takes",
    ["controller"],
    buckets=_RECONCILE_SECONDS,
    registry=REGISTRY,
)

REQUESTS = Counter(
    "rest_client_requests",
    "Requests to the API server; code <error> where none came back",
    ["code", "method", "host"],
    registry=REGISTRY,
)

LEADER = Gauge(
    "leader_election_master_status",
    "1 while this process holds the lease",
    ["name"],
    registry=REGISTRY,
)

EVENTS_DROPPED = Counter(
    "kube_events_dropped",
    "Events that were not written: rate (of one object), queue (full), error (refused)",
    ["cause"],
    registry=REGISTRY,
)


def build_info(name: str) -> None:
    """A gauge of that name, always 1: whose process this is, and of which release."""
    try:
        version = importlib.metadata.version("kaito-py")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        version = "unknown"
    Gauge(name, "1; the release is in its label", ["version"], registry=REGISTRY).labels(
        version
    ).set(1)


def exposition() -> bytes:
    """The text that Prometheus scrapes."""
    return prometheus_client.generate_latest(REGISTRY)
