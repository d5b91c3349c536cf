"""Why pods do not serve, in upstream's order."""

from __future__ import annotations

import msgspec
import pytest

from kube.meta import Condition
from kube.objects import ContainerState, ContainerStateTerminated
from tests.builders import a_pod
from workspace_controller.workspace.failures import classify

UNSCHEDULABLE = a_pod(
    conditions=[
        Condition(type="PodScheduled", status="False", reason="Unschedulable", message="0/3 nodes")
    ]
)
CRASHING = a_pod(waiting=("CrashLoopBackOff", "back-off 40s"), terminated=("Error", 1))
NO_IMAGE = a_pod("falcon-1", waiting=("ErrImagePull", "not found"))
BAD_START = a_pod(waiting=("CreateContainerConfigError", "no secret"))
KILLED = a_pod("falcon-2", waiting=("CrashLoopBackOff", ""), terminated=("OOMKilled", 137))


def evicted(message: str):
    return a_pod(phase="Failed", reason="Evicted", message=message)


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        pytest.param([UNSCHEDULABLE], "Unschedulable", id="unschedulable"),
        pytest.param([CRASHING], "ContainerCrashLoopBackOff", id="crash loop"),
        pytest.param([BAD_START], "ContainerStartError", id="start error"),
        pytest.param([NO_IMAGE], "ImagePullError", id="image"),
        pytest.param([KILLED], "ContainerOOMKilled", id="out of memory"),
        pytest.param([evicted("low on ephemeral-storage")], "NodeDiskPressure", id="disk"),
        pytest.param([evicted("low on memory")], "NodeMemoryPressure", id="memory"),
        pytest.param([evicted("")], "PodEvicted", id="evicted"),
        pytest.param(
            [a_pod(waiting=("InvalidImageName", ""), init=True)], "ImagePullError", id="init"
        ),
        pytest.param([CRASHING, NO_IMAGE], "ImagePullError", id="image before crash"),
        pytest.param([NO_IMAGE, KILLED], "ContainerOOMKilled", id="memory before image"),
        pytest.param([UNSCHEDULABLE, CRASHING], "ContainerCrashLoopBackOff", id="crash first"),
    ],
)
def test_the_first_cause(pods, reason):
    failure = classify(pods)
    assert failure is not None
    assert failure.reason == reason


@pytest.mark.parametrize(
    "pods",
    [
        pytest.param([], id="none"),
        pytest.param([a_pod()], id="starting"),
        pytest.param([a_pod(waiting=("ContainerCreating", ""))], id="creating"),
        pytest.param([a_pod(ready=True, terminated=("OOMKilled", 137))], id="over it"),
        pytest.param([a_pod(phase="Failed", reason="Shutdown")], id="failed otherwise"),
    ],
)
def test_no_cause(pods):
    assert classify(pods) is None


def test_the_message_names_pod_and_container_and_quotes():
    failure = classify([CRASHING])
    assert failure is not None
    assert failure.message == "pod falcon-0: container falcon: back-off 40s (exit code 1)"


def test_what_a_container_said_last_is_told_rather_than_how_long_the_kubelet_waits():
    ended = ContainerStateTerminated(exit_code=1, message="serving\nthe disk is too small: 3 GiB\n")
    (status,) = CRASHING.status.container_statuses
    status = msgspec.structs.replace(status, last_state=ContainerState(terminated=ended))
    pods = msgspec.structs.replace(CRASHING.status, container_statuses=(status,))
    failure = classify([msgspec.structs.replace(CRASHING, status=pods)])
    assert failure is not None
    assert failure.message.endswith("falcon: the disk is too small: 3 GiB (exit code 1)")


def test_long_messages_are_cut():
    failure = classify([a_pod(waiting=("ErrImagePull", "x" * 500))])
    assert failure is not None
    assert len(failure.message) == 256
