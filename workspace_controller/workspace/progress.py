"""Why a Workspace is not ready, in one line: stage, reason, since when, what to do. Pure."""

from __future__ import annotations

from datetime import datetime

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Progress, Workspace
from kube.meta import find_condition
from workspace_controller.plan import Plan
from workspace_controller.workspace.observed import Observed


def progress(workspace: Workspace, plan: Plan, seen: Observed, now: datetime) -> Progress:
    """What the Workspace waits for now; `workspace` has the status of this round."""
    sum_ = find_condition(workspace.status.conditions, c.WORKSPACE_SUCCEEDED)
    done = sum_ is not None and sum_.status == "True"
    stage = "Ready" if done else "Waiting"
    was = workspace.status.progress
    since = was.since if was is not None and was.stage == stage else f"{now:%Y-%m-%dT%H:%M:%SZ}"
    return Progress(stage=stage, since=since, message=sum_.message if sum_ else "")
