"""What `kaito explain` prints, from what was seen."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from apis.kaito.v1beta1.status import ColdStart, ForeignEdit, Progress
from kaito.chain import Event, Seen, age, lines
from kube.meta import Condition
from kube.objects import Pod, Unstructured
from tests.builders import NOW, a_claim, a_gpu_node, a_pod, a_stateful_set, a_workspace

WAITING = Progress(
    stage="WaitingForQuota",
    reason="QuotaExceeded",
    message="no cores left",
    since="2026-11-21T11:57:00Z",
    usual="4m",
    next_step="ask for more",
)


def workspace(**status):
    plain = a_workspace()
    return plain.model_copy(update={"status": plain.status.model_copy(update=status)})


def text(**seen) -> str:
    return "\n".join(lines(Seen(**{"now": NOW, "workspace": workspace(), **seen})))


def event(kind: str, reason: str, message: str, *, uid: str = "", minutes: int = 1, **of) -> Event:
    return Event(
        involved_object={"uid": uid, **of},
        type=kind,
        reason=reason,
        message=message,
        last_timestamp=NOW - timedelta(minutes=minutes),
    )


def test_the_first_lines_are_the_answer():
    first = text(workspace=workspace(progress=WAITING)).splitlines()[:3]
    assert first == [
        "Workspace default/falcon: WaitingForQuota for 3m, usually 4m",
        "  why:  QuotaExceeded: no cores left",
        "  next: ask for more",
    ]


def test_a_workspace_that_nobody_has_looked_at_says_so():
    assert "no controller has looked at it yet" in text()


def test_where_the_newest_starts_time_went():
    start = ColdStart(pod="falcon-0", seconds="98", stages={"launch": "40", "image": "30"})
    told = text(workspace=workspace(progress=WAITING, cold_start=start))
    assert "newest start: 98 s (launch 40 s, image 30 s)" in told


def test_a_claim_tells_its_conditions_and_its_node():
    claim = a_claim("ws1", node="own-1", launched=("Unknown", "QuotaExceeded", "no cores"))
    found = text(claims=[claim], nodes={"own-1": a_gpu_node()})
    assert "NodeClaim ws1: " in found
    assert "  Launched=Unknown (QuotaExceeded, ?): no cores" in found
    assert "  Node own-1: Ready" in found
    assert "nvidia.com/gpu 1" in found


def test_a_nodes_troubles_are_told_once_each():
    node = a_gpu_node()
    troubles = (
        Condition(type="Ready", status="False", reason="KubeletNotReady", message="no network"),
        Condition(type="MemoryPressure", status="True", reason="Low", message="little is left"),
        Condition(type="DiskPressure", status="False", reason="Fine", message="plenty"),
    )
    status = msgspec.structs.replace(node.status, conditions=troubles)
    found = text(
        workspace=workspace(worker_nodes=("own-1",)),
        nodes={"own-1": msgspec.structs.replace(node, status=status)},
    )
    assert [found.count(each.message) for each in troubles] == [1, 1, 0]


def test_a_node_that_is_gone_is_said_to_be_gone():
    found = text(claims=[a_claim("ws1", node="n9")], nodes={})
    assert "Node n9: not there" in found


def test_a_container_that_crashes_is_told_with_its_exit():
    pod = a_pod(
        node="n1", waiting=("CrashLoopBackOff", "back-off 10s"), terminated=("OOMKilled", 137)
    )
    found = text(pods=[pod])
    assert "container falcon: waiting, CrashLoopBackOff: back-off 10s" in found
    assert "before that OOMKilled (exit code 137)" in found


def test_an_unscheduled_pod_says_why():
    unscheduled = Condition(
        type="PodScheduled", status="False", reason="Unschedulable", message="0/3 nodes"
    )
    found = text(pods=[a_pod(conditions=[unscheduled])])
    assert "Pod falcon-0: Pending on no node" in found
    assert "PodScheduled=False (Unschedulable, ?): 0/3 nodes" in found


def test_warnings_come_before_chatter_each_once_and_the_last_three():
    pod: Pod = msgspec.structs.replace(
        a_pod(node="n1"), metadata=msgspec.structs.replace(a_pod().metadata, uid="p")
    )
    events = [
        event("Normal", "Pulled", "image there", uid="p", minutes=1),
        *(event("Warning", "Failed", f"try {n}", uid="p", minutes=9 - n) for n in range(5)),
        event("Warning", "Failed", "try 4", uid="p", minutes=2),
        event("Warning", "Failed", "somebody else's", uid="q"),
    ]
    told = [line for line in text(pods=[pod], events=events).splitlines() if "event" in line]
    assert [line.rsplit(" ", 1)[1] for line in told] == ["2", "3", "4"]


def test_workloads_and_foreign_edits_are_named():
    edit = ForeignEdit(object="StatefulSet/falcon", manager="kubectl-edit", fields=("spec.x",))
    found = text(workspace=workspace(foreign_edits=(edit,)), stateful_set=a_stateful_set())
    assert "edited by kubectl-edit: StatefulSet/falcon: spec.x (left as it is)" in found
    assert "StatefulSet falcon: " in found
    job = Unstructured(status={"failed": 1})
    assert "0 active, 0 succeeded, 1 failed" in text(job=job)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d")]
)
def test_ages_are_spelled_as_kubectl_does(seconds, shown):
    assert age(NOW - timedelta(seconds=seconds), NOW) == shown
