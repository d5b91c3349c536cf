"""A cold start's stages, from the dates of the objects that the controller sees."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from apis.kaito.v1beta1.status import ColdStart, Metric, Performance
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Condition
from kube.metrics import REGISTRY
from kube.objects import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
)
from kube.store import Store
from tests.builders import NOW, a_claim, a_workspace
from workspace_controller import startmetrics
from workspace_controller.plan import Plan
from workspace_controller.startmetrics import ColdStartCollector, count_start
from workspace_controller.workspace import coldstart
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.status import workspace_status

SERVING = Plan(conditions=(Condition(type="InferenceReady", status="True", reason="Served"),))
WAITING = Plan(conditions=(Condition(type="InferenceReady", status="False", reason="Pending"),))


def at(seconds: float) -> datetime:
    """So long after the Workspace was made."""
    return NOW + timedelta(seconds=seconds)


def true(kind: str, when: float) -> Condition:
    return Condition(type=kind, status="True", last_transition_time=at(when))


def workspace(**status: Any) -> Workspace:
    made = a_workspace()
    meta = msgspec.structs.replace(made.metadata, creation_timestamp=at(0))
    known = made.status.model_copy(update=status)
    return made.model_copy(update={"metadata": meta, "status": known})


def claim(
    name: str = "ws1", born: float = 5, launched: float = 15, up: float = 75, done: float = 105
) -> NodeClaim:
    bare = a_claim(name, node="node-1")
    meta = msgspec.structs.replace(bare.metadata, creation_timestamp=at(born))
    told = (true("Launched", launched), true("Registered", up), true("Initialized", done))
    return bare.model_copy(
        update={"metadata": meta, "status": bare.status.model_copy(update={"conditions": told})}
    )


def ran(name: str, begun: float, ended: float) -> ContainerStatus:
    state = ContainerStateTerminated(started_at=at(begun), finished_at=at(ended))
    return ContainerStatus(name=name, ready=True, state=ContainerState(terminated=state))


def runs(name: str, begun: float, restarts: int = 0) -> ContainerStatus:
    running = {"startedAt": f"{at(begun):%Y-%m-%dT%H:%M:%SZ}"}
    return ContainerStatus(
        name=name, ready=True, restart_count=restarts, state=ContainerState(running=running)
    )


def pod(
    name: str = "falcon-0",
    *,
    born: float = 110,
    ready: float = 300,
    inits: tuple[ContainerStatus, ...] = (ran("weights", 150, 210),),
    engine: ContainerStatus | None = None,
) -> Pod:
    meta = a_workspace().metadata
    return Pod(
        metadata=msgspec.structs.replace(
            meta, name=name, uid=f"uid-{name}-{born}", creation_timestamp=at(born)
        ),
        spec=PodSpec(node_name="node-1"),
        status=PodStatus(
            conditions=(true("PodScheduled", born + 1), true("Ready", ready)),
            init_container_statuses=inits,
            container_statuses=(engine or runs("engine", 215),),
        ),
    )


def after(*rounds: tuple[Plan, Observed], began: Workspace | None = None) -> Workspace:
    known = began or workspace()
    for plan, seen in rounds:
        status = workspace_status(known, plan, seen, now=seen.now)
        known = known.model_copy(update={"status": status})
    return known


def seen(*pods: Pod, claims: tuple[NodeClaim, ...] = (claim(),), now: float = 301) -> Observed:
    return Observed(now=at(now), claims=claims, pods=pods)


def start(found: Workspace) -> ColdStart:
    assert found.status.cold_start is not None
    return found.status.cold_start


def test_every_stage_of_a_first_start():
    found = start(after((SERVING, seen(pod()))))
    assert found.stages == {
        "claim": "5",
        "launch": "10",
        "boot": "60",
        "driver": "30",
        "image": "44",  # 39 until the first container runs, 5 until the engine's does
        "weights": "60",
        "load": "85",
    }
    assert (found.seconds, found.pod, found.node) == ("300", "falcon-0", "node-1")
    assert (found.started_at, found.ready_at) == tuple(
        f"{at(each):%Y-%m-%dT%H:%M:%SZ}" for each in (0, 300)
    )


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        pytest.param(
            {"claims": ()}, {"claim", "launch", "boot", "driver"}, id="nodes of one's own"
        ),
        pytest.param({"pods": (pod(inits=()),)}, {"weights"}, id="no init container"),
        pytest.param(
            {"pods": (pod(engine=runs("engine", 250, restarts=1)),)},
            {"image", "weights", "load"},
            id="a container that started again",
        ),
    ],
)
def test_what_has_no_dates_is_left_out(given: dict[str, Any], missing: set[str]):
    world = seen(*given.get("pods", (pod(),)), claims=given.get("claims", (claim(),)))
    told = set(start(after((SERVING, world))).stages)
    assert told == set(coldstart.STAGES) - missing - {"first_token"}


def test_nothing_is_told_before_it_serves():
    assert after((WAITING, seen(pod()))).status.cold_start is None


def test_the_slowest_pod_and_node_count():
    world = seen(
        pod("falcon-0", ready=300),
        pod("falcon-1", ready=400),
        claims=(claim("a"), claim("b", done=200)),
    )
    found = start(after((SERVING, world)))
    assert (found.pod, found.stages["driver"], found.seconds) == ("falcon-1", "125", "400")


def test_a_pod_that_is_ready_again_is_no_start():
    first = after((SERVING, seen(pod())))
    again = after((WAITING, seen(pod(), now=500)), (SERVING, seen(pod(ready=600))), began=first)
    assert again.status.cold_start == first.status.cold_start


def test_a_pod_made_anew_on_the_same_node_is_a_start_without_a_claim():
    first = after((SERVING, seen(pod())))
    other = pod(born=1000, ready=1100, inits=(), engine=runs("engine", 1010))
    found = start(after((SERVING, seen(other, now=1101)), began=first))
    assert found.stages == {"image": "9", "load": "90"}
    assert found.seconds == "100"


def test_a_lost_node_is_a_start_from_its_claim():
    first = after((SERVING, seen(pod())))
    other = pod(born=1200, ready=1300, inits=(), engine=runs("engine", 1210))
    late = claim("ws2", born=1000, launched=1010, up=1100, done=1190)
    found = start(after((SERVING, seen(other, claims=(claim(), late))), began=first))
    assert (found.stages["launch"], found.stages["boot"], found.seconds) == ("10", "90", "300")
    assert "claim" not in found.stages


def test_what_served_before_starts_were_written_down_has_had_its_first():
    found = start(after((SERVING, seen(pod())), began=workspace(state="Ready")))
    assert "claim" not in found.stages
    assert "launch" not in found.stages
    assert found.seconds == "190"


def measured(milliseconds: str) -> Plan:
    metric = Metric(description="", value="1", config={"firstTokenMs": milliseconds})
    performance = Performance(metrics={"peakTokensPerMinute": metric})
    return Plan(conditions=SERVING.conditions, status={"performance": performance})


def test_the_first_token_comes_with_the_benchmark_and_once():
    first = after((SERVING, seen(pod())), (measured("1250.0"), seen(pod())))
    assert start(first).stages["first_token"] == "1.25"
    other = pod(born=1000, ready=1100)
    again = after((measured("1250.0"), seen(other)), (SERVING, seen(other)), began=first)
    assert "first_token" not in start(again).stages


def counted(stage: str) -> tuple[float, float]:
    """Of the stage, and of starts in all."""
    return (
        REGISTRY.get_sample_value("kaito_cold_start_stage_seconds_count", {"stage": stage}) or 0,
        REGISTRY.get_sample_value("kaito_cold_start_seconds_count") or 0,
    )


def test_a_start_is_counted_once_by_who_wrote_it():
    """A process that takes over finds the status as it is, and so nothing to count."""
    (boot, starts), first = counted("boot"), start(after((SERVING, seen(pod()))))
    count_start(None, first, at(310))
    assert counted("boot") == (boot + 1, starts + 1)
    for _ in range(3):
        count_start(first, first, at(320))
    assert counted("boot") == (boot + 1, starts + 1)


def test_a_first_token_that_comes_later_is_counted_and_the_rest_not_again():
    first = start(after((SERVING, seen(pod()))))
    (before, starts), boot = counted("first_token"), counted("boot")
    later = first.model_copy(update={"stages": {**first.stages, "first_token": "0.5"}})
    count_start(first, later, at(9999))
    assert counted("first_token") == (before + 1, starts)
    assert counted("boot") == boot


def test_old_starts_are_not_counted_by_an_upgrade():
    first, before = start(after((SERVING, seen(pod())))), counted("boot")
    count_start(None, first, at(300) + startmetrics.NEWS + timedelta(seconds=1))
    assert counted("boot") == before


def test_the_newest_start_of_each_workspace():
    store: Store[Workspace] = Store()
    store.put(after((SERVING, seen(pod()))))
    (family,) = ColdStartCollector(store).collect()
    told = {each.labels["stage"]: each.value for each in family.samples}
    assert told["boot"] == 60
    assert {each.labels["workspace"] for each in family.samples} == {"falcon"}
