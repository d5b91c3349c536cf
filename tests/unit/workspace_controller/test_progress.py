"""Why a Workspace is not ready, in one line."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from kube.meta import Condition
from kube.objects import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
)
from tests.builders import NOW, SMALL, a_claim, a_workspace
from workspace_controller.errors import UserError
from workspace_controller.plan import Plan
from workspace_controller.workspace import stages
from workspace_controller.workspace.experience import Experience
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.status import workspace_status

NODES_UP = Condition(type="NodesReady", status="True", reason="NodesReady")
PENDING = Condition(
    type="InferenceReady",
    status="False",
    reason="WorkspaceInferenceStatusPending",
    message="0 of 1 inference pods are ready",
)
SERVING = Condition(type="InferenceReady", status="True", reason="WorkspaceInferenceStatusSuccess")


def failing(kind: str, reason: str, message: str = "said so") -> Condition:
    return Condition(type=kind, status="False", reason=reason, message=message)


def told(*conditions: Condition, pods: tuple[Pod, ...] = (), workspace=None, now=NOW, **plan):
    """status.progress after a round with these conditions."""
    workspace = workspace or a_workspace()
    seen = Observed(now=now, pods=pods)
    status = workspace_status(workspace, Plan(conditions=conditions, **plan), seen, now=now)
    return status.progress


def running(name: str, *, ready: bool = False) -> ContainerStatus:
    return ContainerStatus(name=name, ready=ready, state=ContainerState(running={}))


def waiting(name: str, reason: str, message: str = "") -> ContainerStatus:
    state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))
    return ContainerStatus(name=name, state=state)


def ended(name: str, code: int, message: str = "") -> ContainerStatus:
    state = ContainerState(terminated=ContainerStateTerminated(exit_code=code, message=message))
    return ContainerStatus(name=name, state=state, restart_count=1)


def pod(*containers: ContainerStatus, init: tuple[ContainerStatus, ...] = (), node: str = "n"):
    return msgspec.convert(
        {
            "metadata": {"name": "falcon-0"},
            "spec": {"nodeName": node} if node else {},
            "status": {
                "containerStatuses": msgspec.to_builtins(containers),
                "initContainerStatuses": msgspec.to_builtins(init),
            },
        },
        Pod,
    )


@pytest.mark.parametrize(
    ("conditions", "stage"),
    [
        (failing("NodeClaimReady", "QuotaExceeded"), "WaitingForQuota"),
        (failing("NodeClaimReady", "InsufficientCapacityError"), "WaitingForQuota"),
        (failing("NodeClaimReady", "Provisioning"), "WaitingForNode"),
        (failing("NodeClaimReady", "NodeNotFound"), "WaitingForNode"),
        (failing("NodeClaimReady", "ResourceNotRegistered"), "WaitingForDriver"),
        (failing("NodesReady", "NodeNotReady"), "WaitingForNode"),
        (failing("NodesReady", "NodePluginsNotReady"), "WaitingForDriver"),
        (failing("ResourceReady", "ModelDescriptionPending"), "Validating"),
        (failing("InferenceReady", "ModelCommitPending"), "WaitingForWeights"),
        (failing("InferenceReady", "ImagePullError"), "WaitingForImage"),
        (failing("InferenceReady", "Unschedulable"), "WaitingForNode"),
        (failing("InferenceReady", "ContainerOOMKilled"), "WaitingForEngine"),
        (failing("InferenceReady", "ContainerCrashLoopBackOff"), "WaitingForEngine"),
    ],
)
def test_a_complaint_names_its_stage_and_keeps_its_words(conditions, stage):
    found = told(conditions)
    assert (found.stage, found.reason, found.message) == (stage, conditions.reason, "said so")


@pytest.mark.parametrize(
    ("seen", "stage", "word"),
    [
        pytest.param((), "WaitingForEngine", "0 of 1", id="no pod yet"),
        pytest.param((pod(node=""),), "WaitingForNode", "no node yet", id="not scheduled"),
        pytest.param(
            (pod(waiting("falcon", "PodInitializing"), init=(running("weights"),)),),
            "WaitingForWeights",
            "container weights",
            id="fetching weights",
        ),
        pytest.param(
            (pod(waiting("falcon", "PodInitializing"), init=(ended("weights", 1, "no disk"),)),),
            "WaitingForWeights",
            "container weights ended (1): no disk",
            id="fetching failed",
        ),
        pytest.param(
            (pod(waiting("falcon", "ContainerCreating")),), "WaitingForImage", "pulled", id="pull"
        ),
        pytest.param(
            (pod(waiting("falcon", "PodInitializing"), init=(waiting("w", "ContainerCreating"),)),),
            "WaitingForImage",
            "container w",
            id="pull for an init container",
        ),
        pytest.param(
            (pod(running("falcon")),), "WaitingForEngine", "loads the model", id="loading"
        ),
    ],
)
def test_without_a_complaint_the_containers_tell(seen, stage, word):
    found = told(NODES_UP, PENDING, pods=seen)
    assert found.stage == stage
    assert word in found.message
    assert found.reason == ""


def test_a_crash_of_what_fetches_is_no_fault_of_the_engine():
    seen = (pod(waiting("falcon", "PodInitializing"), init=(ended("weights", 1),)),)
    found = told(NODES_UP, failing("InferenceReady", "ContainerCrashLoopBackOff"), pods=seen)
    assert found.stage == "WaitingForWeights"


def test_ready_says_where_it_serves_and_wants_nothing():
    found = told(NODES_UP, SERVING, status={"endpoint": "http://falcon.default"})
    assert (found.stage, found.message) == ("Ready", "serving at http://falcon.default")
    assert (found.next_step, found.usual) == ("", "")


@pytest.mark.parametrize(
    ("reason", "next_step"),
    [
        ("RuntimeNotSupported", "correct it: kubectl edit workspace falcon"),
        ("InvalidPreset", "a preset cannot be edited"),
        ("InvalidInstanceType", "create it anew with an instance type of the catalogue"),
        ("NodeClassDiskTooSmall", "annotation kaito.sh/node-class-name"),
    ],
)
def test_what_only_the_user_can_mend_is_said_with_how_to_do_it(reason: str, next_step: str):
    """What the API server lets nobody edit is not to be edited."""
    refused = UserError("ResourceReady", reason, "the field: the words")
    status = workspace_status(a_workspace(), Plan.refused(refused), Observed(now=NOW), now=NOW)
    assert (status.progress.stage, status.progress.message) == (
        "Validating",
        "the field: the words",
    )
    assert next_step in status.progress.next_step


def test_since_moves_with_the_stage_alone():
    later = NOW + timedelta(minutes=3)
    first = told(failing("NodeClaimReady", "Provisioning", "ordered"))
    before = a_workspace()
    before = before.model_copy(
        update={"status": before.status.model_copy(update={"progress": first})}
    )
    same = told(failing("NodesReady", "NodeNotReady", "0 of 1"), workspace=before, now=later)
    other = told(failing("NodesReady", "NodePluginsNotReady"), workspace=before, now=later)
    assert (first.since, same.since) == ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z")
    assert other.since == "2026-11-21T12:03:00Z"


def test_quota_comes_with_advice_and_without_a_usual_time():
    found = told(failing("NodeClaimReady", "QuotaExceeded"))
    assert "quota" in found.next_step
    assert found.usual == ""


def test_a_larger_model_is_given_more_time():
    large = msgspec.structs.replace(SMALL, weights_bytes=100 * SMALL.weights_bytes, gguf_bytes=0)
    for stage in (stages.WEIGHTS, stages.ENGINE):
        assert stages.usual_of(large)[stage] > 10 * stages.usual_of(SMALL)[stage] > 0
    found = told(NODES_UP, PENDING, pods=(pod(running("f")),), usual=stages.usual_of(large))
    assert found.usual.endswith("m")


@pytest.mark.parametrize(
    ("seconds", "text"), [(2, "5s"), (61, "60s"), (180, "3m"), (5400, "1h30m"), (7500, "2h05m")]
)
def test_times_are_spelled_as_kubectl_spells_ages(seconds, text):
    assert stages.spelled(seconds) == text


def _claim_of(minutes: float):
    """Registered after so many minutes, initialized a minute later."""

    def since(kind: str, after: float) -> Condition:
        at = NOW + timedelta(minutes=after)
        return Condition(type=kind, status="True", reason=kind, last_transition_time=at)

    claim = a_claim("ws0")
    metadata = msgspec.structs.replace(
        claim.metadata,
        creation_timestamp=NOW,
        labels={**claim.metadata.labels, "node.kubernetes.io/instance-type": "Standard_X"},
    )
    conditions = (since("Registered", minutes), since("Initialized", minutes + 1))
    status = claim.status.model_copy(update={"conditions": conditions})
    return claim.model_copy(update={"metadata": metadata, "status": status})


def test_what_the_cluster_has_seen_is_the_usual():
    experience = Experience()
    for minutes in (3, 4, 20):
        experience.changed(None, _claim_of(minutes))
    assert experience.of("standard_x") == {"WaitingForNode": 240.0, "WaitingForDriver": 60.0}
    assert experience.of("Standard_Y") == {}
    seen = Observed(now=NOW, usual=experience.of("standard_x"))
    plan = Plan(conditions=(failing("NodesReady", "NodeNotReady"),))
    status = workspace_status(a_workspace(), plan, seen, now=NOW)
    assert status.progress.usual == "4m"


def test_a_claim_is_counted_once():
    experience, claim = Experience(), _claim_of(4)
    experience.changed(None, claim)
    for minutes in (9, 9, 9):
        experience.changed(claim, _claim_of(minutes))
    assert experience.of("standard_x")["WaitingForNode"] == 240.0
