"""Where a tuning is on its way, in one line. Pure."""

from __future__ import annotations

from typing import NamedTuple

from apis import reports
from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from kube.objects import Pod
from workspace_controller.workspace import stages, tuningreport, tuningrun
from workspace_controller.workspace.observed import Observed

_STAGES = {
    reports.DOWNLOAD: stages.WEIGHTS,
    reports.PREPARE: stages.WEIGHTS,
}
_INIT = {
    "check": "configuration and registry are checked",
    "weights": "weights are downloaded",
    "data": "data is downloaded",
}


class Place(NamedTuple):
    """A stage, and what is said of it."""

    stage: str
    reason: str = ""
    message: str = ""


def place(workspace: Workspace, seen: Observed) -> Place | None:
    """Of a Job that is over, or has pods; None where the way to it tells more."""
    succeeded = workspace.condition(c.WORKSPACE_SUCCEEDED)
    started = workspace.condition(c.JOB_STARTED)
    if succeeded.status == "True":
        return Place(stages.SUCCEEDED, message=succeeded.message)
    run = tuningrun.of(workspace, seen)
    if run.failure is not None:
        return Place(stages.FAILED, started.reason, started.message)
    if not run.at_work:
        return None
    if started.status != "True":
        pending = started.reason == c.REASON_JOB_PENDING
        stage = stages.BY_REASON.get(started.reason, stages.IMAGE)
        return None if pending else Place(stage, started.reason, started.message)
    pods = tuningrun.pods(run, seen)
    return _at_work(workspace, seen, pods[0]) if pods else None


def _at_work(workspace: Workspace, seen: Observed, pod: Pod) -> Place | None:
    """The trainer's own words; before it says anything, which container is at work."""
    started, name = workspace.condition(c.JOB_STARTED).message, pod.metadata.name
    if not pod.spec.node_name:
        return None
    if pod.ended:
        return Place(stages.TUNING, message=started)
    for each in pod.status.init_container_statuses:
        if each.state.running is not None:
            what = _INIT.get(each.name, f"container {each.name} runs")
            return Place(stages.WEIGHTS, message=f"pod {name}: {what}")
    told = seen.reports.get(pod.metadata.uid, reports.Reports())
    status = workspace.status.tuning
    if told.training is not None and status is not None:
        return Place(stages.TUNING, message=tuningreport.line(status) + _doing(told))
    if told.stage is not None:
        stage = _STAGES.get(told.stage.stage, stages.TUNING)
        return Place(stage, message=f"pod {name}: {told.stage.message or told.stage.stage}")
    return Place(stages.TUNING, message=started)


def _doing(told: reports.Reports) -> str:
    """What it does beside the steps."""
    if told.stage is None or told.stage.stage not in (reports.EVALUATE, reports.PUSH):
        return ""
    return f"; {told.stage.message or told.stage.stage}"
