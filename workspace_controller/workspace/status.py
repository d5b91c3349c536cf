"""What the user reads: conditions, state, worker nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.status import WorkspaceStatus
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Condition, find_condition, with_condition
from workspace_controller.plan import Plan
from workspace_controller.workspace import coldstart, progress
from workspace_controller.workspace.observed import Observed

_NODE_CONDITIONS = (c.NODE_CLAIM_READY, c.NODES_READY)
_LONGEST_ERROR = 1024
"""A webhook of somebody else may say as much as it likes; a status with more than 32,768
characters in a message would be refused, and then nothing at all would be told."""


def workspace_status(
    workspace: Workspace, plan: Plan, seen: Observed, *, error: str = "", now: datetime
) -> WorkspaceStatus:
    """The status after a round. `error` is what the API server refused in it; it is appended
    to the messages, since a status that looks fine while nothing moves helps nobody."""
    now = now.replace(microsecond=0)
    conditions = _without_stale(workspace.status.conditions, plan)
    for told in _completed(workspace, plan):
        conditions = with_condition(conditions, _dated(told, workspace, error), now)
    before = workspace.status
    after = before.model_copy(
        update={
            **plan.status,
            "conditions": conditions,
            "state": _state(workspace, conditions),
            "worker_nodes": before.worker_nodes if plan.worker_nodes is None else plan.worker_nodes,
            "target_node_count": plan.target_node_count or before.target_node_count,
        }
    )
    reported = workspace.model_copy(update={"status": after})
    outcome = {
        "progress": progress.progress(reported, plan, seen, now),
        "cold_start": coldstart.cold_start(workspace, after, seen),
    }
    return after.model_copy(update=outcome)


def deleting_status(workspace: Workspace, message: str, now: datetime) -> WorkspaceStatus:
    """While it ends, only that it ends is said; other conditions and the state stay as they were
    last."""
    now, message = now.replace(microsecond=0), _cut(message)
    ending = Condition(
        type=c.WORKSPACE_DELETING, status="True", reason=c.REASON_DELETED, message=message
    )
    conditions = with_condition(workspace.status.conditions, _dated(ending, workspace, ""), now)
    after = {"conditions": conditions, "progress": progress.ending(workspace, message, now)}
    return workspace.status.model_copy(update=after)


def _without_stale(conditions: Iterable[Condition], plan: Plan) -> tuple[Condition, ...]:
    """A word on nodes replaces all earlier words on them: nodes may come another way now, or be
    given back."""
    told = {condition.type for condition in plan.conditions}
    given_back = any(each.reason == c.REASON_NODES_GIVEN_BACK for each in plan.conditions)
    if c.NODES_READY not in told and not given_back:
        return tuple(conditions)
    return tuple(
        condition
        for condition in conditions
        if condition.type in told or condition.type not in _NODE_CONDITIONS
    )


def _completed(workspace: Workspace, plan: Plan) -> tuple[Condition, ...]:
    """What the steps said, that of the workload where none came that far, and the sum of it all."""
    told = plan.conditions
    kind, pending = c.INFERENCE_READY, c.REASON_INFERENCE_PENDING
    if workspace.tuning is not None:
        kind, pending = c.JOB_STARTED, c.REASON_JOB_PENDING
    if find_condition(told, kind) is None:
        first = next((each for each in told if each.status != "True"), None)
        reason = first.reason if first else c.REASON_NODE_NOT_READY
        told = (
            *told,
            Condition(
                type=kind,
                status="False",
                reason=pending,
                message=f"waiting for resources: {reason}",
            ),
        )
    if find_condition(told, c.WORKSPACE_SUCCEEDED) is not None:
        return told
    return (*told, _succeeded(workspace, plan, told))


def _succeeded(workspace: Workspace, plan: Plan, told: tuple[Condition, ...]) -> Condition:
    ready = find_condition(told, c.INFERENCE_READY)
    if ready is not None and ready.status == "True":
        return _sum("True", c.REASON_SUCCEEDED, "workspace succeeds")
    started = find_condition(told, c.JOB_STARTED)
    at_work = started is not None and started.status == "True"
    if workspace.tuning is not None and plan.blocked is not None and not at_work:
        return _sum("False", c.REASON_FAILED, plan.blocked.message)
    first = next((each for each in told if each.status != "True"), ready)
    return _sum("False", c.REASON_PENDING, first.message if first else "")


def _sum(status: str, reason: str, message: str) -> Condition:
    return Condition(
        type=c.WORKSPACE_SUCCEEDED,
        status="True" if status == "True" else "False",
        reason=reason,
        message=message,
    )


def _dated(condition: Condition, workspace: Workspace, error: str) -> Condition:
    message = condition.message
    if error and (said := _cut(error)) not in message:
        message = f"{message} (last reconcile error: {said})"
    return msgspec.structs.replace(
        condition, message=message, observed_generation=workspace.metadata.generation
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else f"{text[: _LONGEST_ERROR - 3]}..."


def _state(workspace: Workspace, conditions: Iterable[Condition]) -> str:
    """Never Pending again once it has been more."""
    if workspace.tuning is not None:
        return _state_of_tuning(conditions)
    ready = find_condition(conditions, c.INFERENCE_READY)
    if ready is not None and ready.status == "True":
        return c.STATE_READY
    was = workspace.status.state
    return c.STATE_NOT_READY if was in (c.STATE_READY, c.STATE_NOT_READY) else c.STATE_PENDING


def _state_of_tuning(conditions: Iterable[Condition]) -> str:
    """Pending again where an edit begins anew."""
    told = {each.type: each for each in conditions}
    succeeded, started = told.get(c.WORKSPACE_SUCCEEDED), told.get(c.JOB_STARTED)
    if succeeded is not None and succeeded.status == "True":
        return c.STATE_SUCCEEDED
    if succeeded is not None and succeeded.reason == c.REASON_FAILED:
        return c.STATE_FAILED
    running = started is not None and started.status == "True"
    return c.STATE_RUNNING if running else c.STATE_PENDING
