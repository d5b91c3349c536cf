"""Panels on a controller as a process: the same of both, told apart, and from a Karpenter beside
them, by who tells which build info (observability.scope)."""

from __future__ import annotations

from observability import scope
from observability.panel import Kind, Panel, Query, Row


def row(build_info: str) -> Row:
    return Row("Controllers", (*_work(build_info), *_process(build_info)))


def _work(build_info: str) -> tuple[Panel, ...]:
    """What they have to do, and whether it is done."""
    mine = scope.of(build_info)
    return (
        Panel(
            title="Failed reconciles",
            about="By controller. A few are normal: what is refused is tried again. A rate that"
            " stays says that something cannot be done; the log names it.",
            queries=(
                Query(
                    "sum by (controller) (rate(controller_runtime_reconcile_errors_total"
                    f"[$__rate_interval]) {mine})",
                    "{{controller}}",
                ),
            ),
            unit="ops",
            none="nothing fails",
        ),
        Panel(
            title="Reconciles, 95th percentile",
            about="How long a look at one object takes, of the five slowest controllers; it"
            " never waits for machines.",
            queries=(
                Query(
                    "topk(5, histogram_quantile(0.95, sum by (le, controller) (rate("
                    "controller_runtime_reconcile_time_seconds_bucket"
                    f"[$__rate_interval]) {mine})) >= 0)",
                    "{{controller}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Objects that wait to be looked at",
            about="Depth of the five longest work queues. It should fall to 0 within seconds"
            " of a burst.",
            queries=(
                Query(f"topk(5, sum by (name) (workqueue_depth {mine}))", "{{name}}"),
                Query(
                    f"max by (name) (workqueue_longest_running_processor_seconds {mine}) > 60",
                    "{{name}}: seconds at one object",
                ),
            ),
        ),
    )


def _process(build_info: str) -> tuple[Panel, ...]:
    """What that costs, of the replicas that export `build_info`."""
    mine = scope.of(build_info)
    return (
        Panel(
            title="Requests to the API server",
            about="By HTTP code; <error> where no answer came. 409 is a write on stale data,"
            " which is tried again; 429 and 5xx are the API server's distress.",
            queries=(
                Query(
                    f"sum by (code) (rate(rest_client_requests_total[$__rate_interval]) {mine})",
                    "{{code}}",
                ),
            ),
            kind=Kind.STACK,
            unit="reqps",
        ),
        Panel(
            title="Memory of each replica",
            about="Resident. It grows with the number of pods and nodes, not with time.",
            queries=(Query(f"process_resident_memory_bytes {mine}", "{{instance}}"),),
            unit="bytes",
        ),
        Panel(
            title="CPU of each replica",
            about="Cores. Only the leader works; the others keep their caches warm.",
            queries=(
                Query(f"rate(process_cpu_seconds_total[$__rate_interval]) {mine}", "{{instance}}"),
            ),
        ),
    )


def leader(build_info: str) -> Panel:
    return Panel(
        title="Leader",
        about="Replicas that hold the lease: 1. With 0 nothing is done; take-over lasts 20 s.",
        queries=(Query(f"sum(leader_election_master_status {scope.of(build_info)})", "leaders"),),
        kind=Kind.NUMBER,
        width=4,
    )
