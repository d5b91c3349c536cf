"""What the user reads after a round."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kube.meta import Condition
from tests.builders import NOW, a_workspace, a_workspace_manifest
from workspace_controller.errors import UserError
from workspace_controller.plan import Plan
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.status import deleting_status, workspace_status

NODES_UP = (
    Condition(type="NodeClaimReady", status="True", reason="NodeClaimsReady"),
    Condition(type="NodesReady", status="True", reason="NodesReady"),
    Condition(type="ResourceReady", status="True", reason="workspaceResourceStatusSuccess"),
)
SERVING = Condition(type="InferenceReady", status="True", reason="WorkspaceInferenceStatusSuccess")
STARTING = Condition(
    type="InferenceReady", status="False", reason="WorkspaceInferenceStatusPending", message="soon"
)
READY = Plan(conditions=(*NODES_UP, SERVING), target_node_count=2, worker_nodes=("a", "b"))
PENDING = Plan(conditions=(*NODES_UP, STARTING))
WAITING = Plan(
    conditions=(
        Condition(type="NodesReady", status="False", reason="NodeNotReady", message="0 of 1"),
        Condition(type="ResourceReady", status="False", reason="NodeNotReady", message="0 of 1"),
    )
)


def after(*plans: Plan, workspace=None, now=NOW, error=""):
    """The Workspace as it is after these rounds."""
    workspace = workspace or a_workspace()
    for plan in plans:
        status = workspace_status(workspace, plan, Observed(now=now), now=now, error=error)
        workspace = workspace.model_copy(update={"status": status})
    return workspace


def said(workspace) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in workspace.status.conditions}


def test_a_serving_workspace():
    workspace = after(READY)
    assert said(workspace)["WorkspaceSucceeded"] == ("True", "workspaceSucceeded")
    assert workspace.status.state == "Ready"
    assert workspace.status.worker_nodes == ("a", "b")
    assert workspace.status.target_node_count == 2
    assert {each.observed_generation for each in workspace.status.conditions} == {1}


def test_while_nodes_are_waited_for_inference_says_for_what():
    workspace = after(WAITING)
    assert said(workspace)["InferenceReady"] == ("False", "WorkspaceInferenceStatusPending")
    assert workspace.condition("InferenceReady").message == "waiting for resources: NodeNotReady"
    assert said(workspace)["WorkspaceSucceeded"] == ("False", "workspacePending")
    assert workspace.condition("WorkspaceSucceeded").message == "0 of 1"


@pytest.mark.parametrize(
    ("rounds", "state"),
    [
        pytest.param([WAITING], "Pending", id="new"),
        pytest.param([WAITING, PENDING], "Pending", id="not there yet"),
        pytest.param([READY], "Ready", id="ready"),
        pytest.param([READY, PENDING], "NotReady", id="ready no more"),
        pytest.param([READY, WAITING, PENDING], "NotReady", id="never pending again"),
        pytest.param([READY, PENDING, READY], "Ready", id="back"),
    ],
)
def test_state(rounds, state):
    assert after(*rounds).status.state == state


def test_nothing_changes_when_nothing_changes():
    first = after(READY)
    later = after(READY, workspace=first, now=NOW + timedelta(hours=1))
    assert later.status.to_json() == first.status.to_json()


def test_time_moves_with_the_status_alone():
    workspace = after(PENDING)
    later = after(READY, workspace=workspace, now=NOW + timedelta(minutes=1))
    assert later.condition("NodesReady").last_transition_time == NOW
    assert later.condition("InferenceReady").last_transition_time == NOW + timedelta(minutes=1)


def test_what_was_refused_is_appended_once():
    workspace = after(WAITING, error="403 Forbidden: no")
    assert (
        workspace.condition("NodesReady").message
        == "0 of 1 (last reconcile error: 403 Forbidden: no)"
    )
    assert after(WAITING, workspace=workspace).condition("NodesReady").message == "0 of 1"


def test_a_word_on_nodes_replaces_the_words_of_another_way_to_get_them():
    workspace = after(READY, WAITING)
    assert "NodeClaimReady" not in said(workspace)


def test_a_refusal_leaves_the_words_on_nodes_as_they_were():
    refused = Plan.refused(UserError("ResourceReady", "InvalidConfig", "inference.config: no"))
    workspace = after(READY, refused)
    assert said(workspace) == {
        "NodeClaimReady": ("True", "NodeClaimsReady"),
        "NodesReady": ("True", "NodesReady"),
        "ResourceReady": ("False", "InvalidConfig"),
        "InferenceReady": ("False", "WorkspaceInferenceStatusPending"),
        "WorkspaceSucceeded": ("False", "workspacePending"),
    }
    assert workspace.status.worker_nodes == ("a", "b")
    assert workspace.status.target_node_count == 2


def test_refused_tuning_has_failed():
    manifest = {
        **a_workspace_manifest(),
        "inference": None,
        "tuning": {"input": {"image": "i"}, "output": {"image": "o"}},
    }
    tuning = type(a_workspace()).model_validate(manifest)
    refused = Plan.refused(UserError("ResourceReady", "InvalidTuning", "not yet"))
    workspace = after(refused, workspace=tuning)
    assert said(workspace) == {
        "ResourceReady": ("False", "InvalidTuning"),
        "JobStarted": ("False", "WorkspaceTuningJobStatusPending"),
        "WorkspaceSucceeded": ("False", "workspaceFailed"),
    }
    assert workspace.condition("WorkspaceSucceeded").message == "not yet"
    assert workspace.status.state == "Failed"


def test_an_end_says_only_that_it_ends():
    workspace = after(READY)
    ending = workspace.model_copy(
        update={"status": deleting_status(workspace, "waiting for NodeClaims to end: ws1", NOW)}
    )
    assert said(ending)["WorkspaceDeleting"] == ("True", "workspaceDeleted")
    assert said(ending)["WorkspaceSucceeded"] == ("True", "workspaceSucceeded")
    assert ending.status.state == "Ready"
    told = ending.status.progress
    assert (told.stage, told.message) == ("Deleting", "waiting for NodeClaims to end: ws1")
    later = deleting_status(ending, "waiting for NodeClaims to end: ws1", NOW + timedelta(hours=1))
    assert later.to_json() == ending.status.to_json()


@pytest.mark.parametrize("ending", [False, True])
def test_what_others_say_at_length_is_cut_to_what_the_api_server_takes(ending: bool):
    """A message of more than 32,768 characters would cost the whole status."""
    long = "no " * 20_000
    status = (
        deleting_status(a_workspace(), long, NOW) if ending else after(WAITING, error=long).status
    )
    assert 0 < max(len(each.message) for each in status.conditions) < 2_000
