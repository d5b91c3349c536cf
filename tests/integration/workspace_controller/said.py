"""What a Workspace says of itself, and what must be true of it whatever it says."""

from __future__ import annotations

import re
from datetime import datetime

from workspace_cluster import Cluster, eventually

from apis.kaito.v1beta1.status import Progress
from apis.kaito.v1beta1.workspace import Workspace

_USUAL = re.compile(r"|\d+s|\d+m|\d+h\d\dm")


async def told(
    cluster: Cluster, kind: str, status: str, reason: str, *, words: str = "", stage: str = ""
) -> Workspace:
    """The Workspace, once its condition is this one and its progress has come to `stage`."""
    seen: list[Workspace] = []

    async def says() -> bool:
        workspace = await cluster.workspace()
        seen[:] = [workspace]
        found = workspace.condition(kind)
        return (
            (found.status, found.reason) == (status, reason)
            and words in found.message
            and stage in ("", progress(workspace).stage)
        )

    try:
        await eventually(says)
    except AssertionError as error:
        lines = "\n".join(lines_of(seen[0]))
        raise AssertionError(
            f"never {kind}={status} {reason} {words!r} {stage}:\n{lines}"
        ) from error
    is_whole(seen[0])
    return seen[0]


def progress(workspace: Workspace) -> Progress:
    return workspace.status.progress or Progress(stage="")


def is_whole(workspace: Workspace) -> None:
    """Its parts agree with each other, in whatever state it is."""
    status, now = workspace.status, progress(workspace)
    ready = workspace.condition("InferenceReady").status == "True"
    deleting = workspace.condition("WorkspaceDeleting").status == "True"
    assert (status.state == "Ready") == ready
    if workspace.tuning is None:
        assert (workspace.condition("WorkspaceSucceeded").status == "True") == ready
    else:
        _is_one_tale(workspace)
    assert now.stage != "Ready" or ready
    assert now.stage == "Deleting" or not deleting
    assert datetime.fromisoformat(now.since).tzinfo is not None
    assert _USUAL.fullmatch(now.usual)
    for each in status.conditions:
        # To ask for its end is a change, too, of which nothing but the end is told.
        old = deleting and each.type != "WorkspaceDeleting"
        assert old or each.observed_generation == workspace.metadata.generation, each
        assert each.last_transition_time is not None
        assert len(each.message) < 2_000


def _is_one_tale(workspace: Workspace) -> None:
    """State, sum and stage of a tuning are one; while it ends the last of them stay."""
    state, succeeded = workspace.status.state, workspace.condition("WorkspaceSucceeded")
    assert (state == "Succeeded") == (succeeded.status == "True")
    assert (state == "Failed") == (succeeded.reason == "workspaceFailed")
    assert (state == "Running") <= (workspace.condition("JobStarted").status == "True")
    assert (progress(workspace).stage == "Succeeded") <= (state == "Succeeded")
    assert (progress(workspace).stage == "Failed") <= (state == "Failed")


def lines_of(workspace: Workspace) -> list[str]:
    """As `kubectl describe` has it, for whoever reads why a test failed."""
    told = [
        f"{each.type}={each.status} {each.reason}: {each.message}"
        for each in workspace.status.conditions
    ]
    return [*told, f"state {workspace.status.state}", repr(workspace.status.progress)]
