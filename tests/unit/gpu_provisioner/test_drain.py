"""Which pods must leave a node, in what order, and which may be made to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gpu_provisioner.node import drain
from kube.objects import PODS, Pod
from tests.fakes import objects

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(name: str = "p", **given: Any) -> Pod:
    given.setdefault("metadata", {}).setdefault("uid", f"uid-{name}")
    return PODS.decode(msgspec.json.encode(objects.pod_manifest(name, **given)))


def names(pods: tuple[Pod, ...]) -> list[str]:
    return [each.metadata.name for each in pods]


def tolerating(**toleration: str) -> dict[str, Any]:
    return {"spec": {"tolerations": [toleration]}}


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("given", "leaves"),
    [
        pytest.param({}, True, id="of a controller"),
        pytest.param({"owner": ""}, True, id="of nobody"),
        pytest.param({"owner": "DaemonSet"}, True, id="of a daemon set"),
        pytest.param({"owner": "Node"}, False, id="static"),
        pytest.param({"phase": "Succeeded"}, False, id="succeeded"),
        pytest.param({"phase": "Failed"}, False, id="failed"),
        pytest.param(
            tolerating(key="karpenter.sh/disrupted", operator="Exists"), False, id="tolerates key"
        ),
        pytest.param(
            tolerating(key="karpenter.sh/disrupted", operator="Equal", effect="NoSchedule"),
            False,
            id="tolerates by equality",
        ),
        pytest.param(
            tolerating(key="karpenter.sh/disrupted", operator="Exists", effect="NoExecute"),
            True,
            id="tolerates another effect",
        ),
        pytest.param(
            tolerating(key="karpenter.sh/disrupted", value="x"), True, id="tolerates another value"
        ),
        pytest.param(tolerating(operator="Exists"), False, id="tolerates everything"),
        pytest.param(
            tolerating(key="node.kubernetes.io/unschedulable", operator="Exists"),
            True,
            id="tolerates unschedulable",
        ),
        pytest.param(
            {"metadata": {"deletionTimestamp": at(-59)}}, True, id="should have ended just now"
        ),
        pytest.param(
            {"metadata": {"deletionTimestamp": at(-61)}}, False, id="should have ended long ago"
        ),
    ],
)
def test_who_has_to_leave(given: dict[str, Any], leaves: bool) -> None:
    assert bool(drain.plan([pod(**given)], NOW, None).waited_for) is leaves


def test_one_group_after_the_other() -> None:
    critical = {"spec": {"priorityClassName": "system-node-critical"}}
    world = [
        pod("critical-daemon", owner="DaemonSet", **critical),
        pod("critical", spec={"priorityClassName": "system-cluster-critical"}),
        pod("daemon", owner="DaemonSet"),
        pod("a"),
        pod("b"),
    ]
    order = []
    while world:
        asked = names(drain.plan(world, NOW, None).evict)
        order.append(asked)
        world = [each for each in world if each.metadata.name not in asked]

    assert order == [["a", "b"], ["daemon"], ["critical"], ["critical-daemon"]]


def test_a_group_waits_for_who_is_still_ending_in_the_one_before() -> None:
    ending = pod("ending", metadata={"deletionTimestamp": at(20)})

    plan = drain.plan([ending, pod("daemon", owner="DaemonSet")], NOW, None)

    assert plan.evict == ()
    assert names(plan.waited_for) == ["ending", "daemon"]


@pytest.mark.parametrize(
    ("wish", "protected"),
    [
        pytest.param("true", True, id="for ever"),
        pytest.param("2h", True, id="for two hours from its start"),
        pytest.param("30m", False, id="for half an hour, over"),
        pytest.param("false", False, id="false"),
        pytest.param("1d", False, id="no duration"),
    ],
)
def test_a_pod_may_ask_not_to_be_disrupted(wish: str, protected: bool) -> None:
    asking = pod(
        metadata={"annotations": {"karpenter.sh/do-not-disrupt": wish}},
        status={"startTime": at(-3600)},
    )

    plan = drain.plan([asking], NOW, None)

    assert bool(plan.protected) is protected
    assert bool(plan.evict) is not protected
    assert plan.waited_for


class TestDeadline:
    """Past its share of the time left, nobody is asked any more."""

    def test_a_pod_is_forced_when_its_own_grace_would_outlast_the_deadline(self) -> None:
        slow = pod("slow", spec={"terminationGracePeriodSeconds": 60})
        quick = pod("quick", spec={"terminationGracePeriodSeconds": 10})
        deadline = NOW + timedelta(seconds=60)

        at_the_edge = drain.plan([slow, quick], NOW, deadline)
        assert at_the_edge.force == ()
        assert at_the_edge.next_force == NOW

        later = NOW + timedelta(seconds=1)
        plan = drain.plan([slow, quick], later, deadline)
        assert [(each.pod.metadata.name, each.grace_seconds) for each in plan.force] == [
            ("slow", 59)
        ]
        assert names(plan.evict) == ["quick"]
        assert plan.next_force == deadline - timedelta(seconds=10)

    def test_the_order_of_groups_does_not_protect(self) -> None:
        daemon = pod("daemon", owner="DaemonSet")

        plan = drain.plan([pod("a"), daemon], NOW, NOW + timedelta(seconds=5))

        assert {each.pod.metadata.name for each in plan.force} == {"a", "daemon"}

    def test_nor_does_the_wish_not_to_be_disrupted(self) -> None:
        asking = pod(metadata={"annotations": {"karpenter.sh/do-not-disrupt": "true"}})

        plan = drain.plan([asking], NOW, NOW + timedelta(seconds=5))

        assert len(plan.force) == 1
        assert plan.protected == ()

    def test_past_the_deadline_a_second_is_left(self) -> None:
        plan = drain.plan([pod()], NOW, NOW - timedelta(seconds=90))

        assert [each.grace_seconds for each in plan.force] == [1]

    def test_an_end_that_comes_too_late_is_brought_forward(self) -> None:
        late = pod("late", metadata={"deletionTimestamp": at(600)})
        in_time = pod("in-time", metadata={"deletionTimestamp": at(30)})

        plan = drain.plan([late, in_time], NOW, NOW + timedelta(seconds=60))

        assert [each.pod.metadata.name for each in plan.force] == ["late"]

    def test_who_tolerates_the_drain_is_not_forced(self) -> None:
        staying = pod(**tolerating(operator="Exists"))

        assert drain.plan([staying], NOW, NOW).force == ()
