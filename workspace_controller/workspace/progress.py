"""Why a Workspace is not ready, in one line: stage, reason, since when, what to do. Pure.

The line is read off the round's conditions, which carry the words of the cloud, the scheduler
and the kubelet; where pods run and nobody complains, their containers tell how far they are.
How long it has been is not written out: `since` says it, and kubectl's wide output counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.status import Progress
from apis.kaito.v1beta1.workspace import Workspace
from apis.reports import Reports, Stage
from kube.meta import Condition, find_condition
from kube.objects import ContainerStatus, Pod
from workspace_controller.plan import Plan
from workspace_controller.workspace import podreports, stages, tuningprogress
from workspace_controller.workspace.observed import Observed

_RESOURCES = (c.NODE_CLAIM_READY, c.NODES_READY, c.MODEL_MIRROR_READY, c.RESOURCE_READY)
_COMING = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a container that waits for nobody's mistake."""


@dataclass(frozen=True, slots=True)
class _Finding:
    stage: str
    reason: str = ""
    message: str = ""
    next_step: str = ""


def progress(workspace: Workspace, plan: Plan, seen: Observed, now: datetime) -> Progress:
    """What the Workspace waits for now; `workspace` has the status of this round."""
    found = _finding(workspace, plan, seen)
    usual = {**stages.USUAL_SECONDS, **seen.usual, **plan.usual}.get(found.stage)
    return Progress(
        stage=found.stage,
        reason=found.reason,
        message=found.message,
        since=_since(workspace, found.stage, now),
        usual=stages.spelled(usual) if usual else "",
        next_step=stages.NEXT_STEPS.get(found.reason, found.next_step),
    )


def ending(workspace: Workspace, message: str, now: datetime) -> Progress:
    """What its end waits for: whatever it was waiting for before, it no longer does."""
    return Progress(
        stage=stages.DELETING, message=message, since=_since(workspace, stages.DELETING, now)
    )


def _since(workspace: Workspace, stage: str, now: datetime) -> str:
    was = workspace.status.progress
    return was.since if was is not None and was.stage == stage else f"{now:%Y-%m-%dT%H:%M:%SZ}"


def _finding(workspace: Workspace, plan: Plan, seen: Observed) -> _Finding:
    if plan.blocked is not None:
        return _Finding(
            stages.VALIDATING,
            plan.blocked.reason,
            plan.blocked.message,
            f"correct it: kubectl edit workspace {workspace.metadata.name}",
        )
    told = workspace.status.conditions
    if workspace.tuning is not None and (place := tuningprogress.place(workspace, seen)):
        return _Finding(*place)
    failing = _first_failing(told, _RESOURCES)
    if failing is not None:
        stage = stages.BY_REASON.get(failing.reason, stages.NODE)
        return _Finding(stage, failing.reason, failing.message)
    if workspace.tuning is not None:
        started = find_condition(told, c.JOB_STARTED)
        return _Finding(stages.IMAGE, message=started.message if started else "")
    ready = find_condition(told, c.INFERENCE_READY)
    if ready is not None and ready.status == "True":
        return _Finding(stages.READY, message=f"serving at {workspace.status.endpoint}")
    return _starting(ready, seen)


def _first_failing(told: Sequence[Condition], kinds: Iterable[str]) -> Condition | None:
    for kind in kinds:
        condition = find_condition(told, kind)
        if condition is not None and condition.status != "True":
            return condition
    return None


def _starting(ready: Condition | None, seen: Observed) -> _Finding:
    """Nodes are there; the pods are on their way."""
    pods = seen.pods
    said = ready.message if ready is not None else ""
    reason = ready.reason if ready is not None else ""
    if (stage := stages.BY_REASON.get(reason)) is not None:
        if stage == stages.ENGINE and any(map(_is_fetching, pods)):
            stage = stages.WEIGHTS
        return _Finding(stage, reason, said)
    ordered = sorted(pods, key=lambda pod: pod.metadata.name)
    late = next((pod for pod in ordered if not _is_ready(pod)), None)
    if late is None:
        return _Finding(stages.ENGINE, message=said or "waiting for the pods to be made")
    return _of_pod(late, seen.reports.get(late.metadata.uid, Reports()).stage)


def _is_fetching(pod: Pod) -> bool:
    """Whether the pod has an init container that was started and has not succeeded."""
    return any(
        not each.ready and (each.restart_count or each.state.running or each.state.terminated)
        for each in pod.status.init_container_statuses
    )


def _is_ready(pod: Pod) -> bool:
    condition = find_condition(pod.status.conditions, "Ready")
    return condition is not None and condition.status == "True"


def _of_pod(pod: Pod, said: Stage | None) -> _Finding:
    name = pod.metadata.name
    doing = podreports.words(said)
    if not pod.spec.node_name:
        return _Finding(stages.NODE, message=f"pod {name} has no node yet")
    for container in pod.status.init_container_statuses:
        if container.state.running is not None:
            what = doing or "fetches what the engine needs"
            message = f"pod {name}: container {container.name} {what}"
            return _Finding(stages.WEIGHTS, message=message)
        if container.ready:
            continue
        if (ended := container.state.terminated) is not None:
            why = f": {ended.message.strip()}" if ended.message else ""
            message = f"pod {name}: container {container.name} ended ({ended.exit_code}){why}"
            return _Finding(stages.WEIGHTS, message=message)
        return _image(name, container)
    for container in pod.status.container_statuses:
        if container.state.running is None and container.state.terminated is None:
            return _image(name, container)
    return _Finding(stages.ENGINE, message=f"pod {name}: the engine {doing or 'loads the model'}")


def _image(pod: str, container: ContainerStatus) -> _Finding:
    waiting = container.state.waiting
    reason = waiting.reason if waiting is not None and waiting.reason not in _COMING else ""
    said = waiting.message if waiting is not None and waiting.message else "its image is pulled"
    return _Finding(stages.IMAGE, reason, f"pod {pod}: container {container.name}: {said}")
