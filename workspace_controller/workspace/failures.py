"""Why pods do not become ready, in the order in which a user wants to know. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from apis.kaito.v1beta1 import conditions as c
from kube.meta import find_condition
from kube.objects import ContainerStatus, Pod
from workspace_controller import messages

_PULL_ERRORS = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_START_ERRORS = frozenset(
    {
        "CreateContainerConfigError",
        "PreCreateHookError",
        "CreateContainerError",
        "PreStartHookError",
        "RunContainerError",
        "PostStartHookError",
    }
)


class Failure(NamedTuple):
    """A reason of InferenceReady, and the words of the kubelet or the scheduler."""

    reason: str
    message: str


def classify(pods: Sequence[Pod]) -> Failure | None:
    """The first cause in upstream's order over all pods; None where they are merely not there
    yet. A container that serves says nothing about what it went through."""
    ordered = sorted(pods, key=lambda pod: pod.metadata.name)
    for ask in (_out_of_memory, _image_pull, _start_error, _crash_loop):
        for pod in ordered:
            for container in _containers(pod):
                if (message := ask(container)) is not None:
                    return _failure(_REASONS[ask], f"pod {pod.metadata.name}: {message}")
    for judge in (_evicted, _unschedulable):
        for pod in ordered:
            if (failure := judge(pod)) is not None:
                return failure
    return None


def _containers(pod: Pod) -> Iterator[ContainerStatus]:
    yield from _unready(pod.status.init_container_statuses)
    yield from _unready(pod.status.container_statuses)


def _unready(statuses: Iterable[ContainerStatus]) -> Iterator[ContainerStatus]:
    return (status for status in statuses if not status.ready)


def _out_of_memory(container: ContainerStatus) -> str | None:
    for state in (container.state, container.last_state):
        if state.terminated is not None and state.terminated.reason == "OOMKilled":
            return f"container {container.name} ran out of memory and was killed"
    return None


def _image_pull(container: ContainerStatus) -> str | None:
    return _waiting(container, _PULL_ERRORS)


def _start_error(container: ContainerStatus) -> str | None:
    return _waiting(container, _START_ERRORS)


def _crash_loop(container: ContainerStatus) -> str | None:
    message = _waiting(container, frozenset({"CrashLoopBackOff"}))
    ended = container.last_state.terminated
    if message is None or ended is None:
        return message
    if said := ended.message.strip().rpartition("\n")[2]:
        message = f"container {container.name}: {said}"
    return f"{message} (exit code {ended.exit_code})"


_REASONS: dict[Callable[[ContainerStatus], str | None], str] = {
    _out_of_memory: c.REASON_CONTAINER_OOM_KILLED,
    _image_pull: c.REASON_IMAGE_PULL_ERROR,
    _start_error: c.REASON_CONTAINER_START_ERROR,
    _crash_loop: c.REASON_CRASH_LOOP,
}


def _waiting(container: ContainerStatus, reasons: frozenset[str]) -> str | None:
    waiting = container.state.waiting
    if waiting is None or waiting.reason not in reasons:
        return None
    return f"container {container.name}: {waiting.message or waiting.reason}"


def _evicted(pod: Pod) -> Failure | None:
    """The kubelet has no field for what it ran short of; only its message tells."""
    if pod.status.phase != "Failed" or pod.status.reason != "Evicted":
        return None
    message = pod.status.message
    if "ephemeral-storage" in message or "disk" in message.lower():
        reason = c.REASON_NODE_DISK_PRESSURE
    elif "memory" in message.lower():
        reason = c.REASON_NODE_MEMORY_PRESSURE
    else:
        reason = c.REASON_POD_EVICTED
    return _failure(reason, f"pod {pod.metadata.name}: {message or 'evicted'}")


def _unschedulable(pod: Pod) -> Failure | None:
    scheduled = find_condition(pod.status.conditions, "PodScheduled")
    if scheduled is None or scheduled.status != "False" or scheduled.reason != "Unschedulable":
        return None
    return _failure(c.REASON_UNSCHEDULABLE, f"pod {pod.metadata.name}: {scheduled.message}")


def _failure(reason: str, message: str) -> Failure:
    return Failure(reason, messages.cut(message))
