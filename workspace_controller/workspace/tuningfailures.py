"""Why a training ended, in the order in which a user wants to know. Pure.

The trainer tells the kind by its exit code (`apis.reports`) and the rest by its last words, which
the kubelet keeps as the container's termination message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from apis import reports
from apis.kaito.v1beta1 import conditions as c
from kube.meta import Condition, find_condition
from kube.objects import ContainerStateTerminated, ContainerStatus, Pod
from workspace_controller import messages
from workspace_controller.workspace.failures import Failure

_OOM_KILLED = "OOMKilled"

REASONS: Mapping[int, str] = {
    reports.EXIT_BAD_DATA: c.REASON_INVALID_DATA,
    reports.EXIT_BAD_MODEL: c.REASON_MODEL_NOT_TUNABLE,
    reports.EXIT_OUT_OF_MEMORY: c.REASON_TUNING_OUT_OF_MEMORY,
    reports.EXIT_PUSH_REFUSED: c.REASON_PUSH_REFUSED,
    reports.EXIT_BAD_CONFIG: "InvalidConfig",
}
"""Of exit codes."""


def of_job(failed: Condition, pods: Sequence[Pod], attempts: int) -> Failure:
    """Why the Job was given up; `pods` are the newest first, and may be gone by now."""
    found = next(filter(None, map(of_pod, pods)), None)
    if found is None:
        return Failure(c.REASON_JOB_FAILED, messages.cut(failed.message or failed.reason))
    if failed.reason == "BackoffLimitExceeded":
        return Failure(found.reason, f"given up after {attempts} pods; {found.message}")
    return found


def of_pod(pod: Pod) -> Failure | None:
    """Why the pod ended; None where it has not, or has done its work."""
    for each in _containers(pod):
        ended = each.state.terminated
        if ended is not None and ended.exit_code:
            reason = REASONS.get(ended.exit_code, c.REASON_JOB_FAILED)
            if ended.reason == _OOM_KILLED:
                reason = c.REASON_TUNING_OUT_OF_MEMORY
            return Failure(reason, messages.cut(f"container {each.name}: {_words(ended)}"))
    if pod.status.phase == "Failed":
        words = pod.status.message or pod.status.reason or "it failed"
        return Failure(c.REASON_JOB_FAILED, messages.cut(f"pod {pod.metadata.name}: {words}"))
    return None


def interruption(pod: Pod) -> str:
    """Who took the pod away, where it was no fault of its own; empty where nobody did."""
    told = find_condition(pod.status.conditions, "DisruptionTarget")
    if told is None or told.status != "True":
        return ""
    said = told.message or told.reason or "taken away"
    return messages.cut(f"pod {pod.metadata.name} was interrupted: {said}")


def _containers(pod: Pod) -> Iterable[ContainerStatus]:
    return (*pod.status.init_container_statuses, *pod.status.container_statuses)


def _words(ended: ContainerStateTerminated) -> str:
    said = ended.message.strip().rpartition("\n")[2]
    if ended.reason == _OOM_KILLED:
        return "it took more memory than the node has, and was killed"
    return f"{said} (exit code {ended.exit_code})" if said else f"exit code {ended.exit_code}"
