"""When nodes are given back whose pods a ResourceQuota refuses: not before nothing ran for long."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.status import Progress, WorkspaceStatus
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Condition
from kube.objects import ResourceQuota
from tests import builders, ragengines
from tests.builders import NOW, a_claim, a_node, a_pod, a_stateful_set, a_workspace, a_world
from tests.tuning_worlds import a_job, a_training_pod, a_tuning
from workspace_controller.plan import Plan
from workspace_controller.ragengine.plan import make_plan as engine_plan
from workspace_controller.tenancy import GRACE, LOOK_AGAIN_SECONDS
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.plan import make_plan
from workspace_controller.workspace.status import workspace_status

SETTINGS = builders.settings()
OLD = timedelta(days=3)
ALMOST = GRACE - timedelta(minutes=1)
REFUSED = "ResourceQuotaExceeded"


def full(allowed: str = "9") -> ResourceQuota:
    metadata = {"name": "team", "namespace": "default"}
    status = {"hard": {"pods": allowed}, "used": {"pods": "9"}}
    given = {"metadata": metadata, "spec": {"hard": {"pods": allowed}}, "status": status}
    return msgspec.convert(given, ResourceQuota)


def aged(claim: NodeClaim, age: timedelta) -> NodeClaim:
    meta = msgspec.structs.replace(claim.metadata, creation_timestamp=NOW - age)
    return claim.model_copy(update={"metadata": meta})


def said(kind: str, status: str, age: timedelta = OLD, reason: str = "") -> Condition:
    told: Any = status
    return Condition(type=kind, status=told, reason=reason, last_transition_time=NOW - age)


def told(owner: Workspace, *conditions: Condition, waits: timedelta | None = None) -> Workspace:
    """`waits`: for how long it has been in the stage of waiting for a quota."""
    progress = None
    if waits is not None:
        since = f"{NOW - waits:%Y-%m-%dT%H:%M:%SZ}"
        progress = Progress(stage="WaitingForQuota", reason=REFUSED, since=since)
    status = WorkspaceStatus(conditions=conditions, progress=progress)
    return owner.model_copy(update={"status": status})


def seen_for(age: timedelta = OLD, allowed: str = "9", **given: Any) -> Observed:
    """Its node is there, and its pods are not."""
    world: dict[str, Any] = {
        "claims": (aged(a_claim("ws1", node="node-1", ready=True), age),),
        "nodes": (a_node(),),
        "resource_quotas": (full(allowed),),
    }
    return a_world(**{**world, **given})


def gives_back(plan: Plan) -> bool:
    back = "ws1" in [each.name for each in plan.delete]
    if back:
        assert plan.waits_for == REFUSED
        assert plan.look_again == LOOK_AGAIN_SECONDS
        assert not any(each["kind"] == "NodeClaim" for each in plan.create)
    return back


NODES = said("ResourceReady", "True")
SERVES = said("InferenceReady", "True")


def not_ready(age: timedelta, reason: str = "") -> Condition:
    return said("InferenceReady", "False", age, reason)


@pytest.mark.parametrize(
    ("workspace", "age", "left"),
    [
        pytest.param(a_workspace(), GRACE, GRACE, id="nobody has told yet"),
        pytest.param(told(a_workspace(), SERVES), OLD, GRACE, id="it served a moment ago"),
        pytest.param(told(a_workspace(), not_ready(ALMOST)), OLD, GRACE - ALMOST, id="a while"),
        pytest.param(told(a_workspace(), not_ready(GRACE)), OLD, None, id="not for ever"),
        pytest.param(told(a_workspace(), not_ready(OLD)), ALMOST, GRACE - ALMOST, id="new nodes"),
        pytest.param(
            told(a_workspace(), not_ready(GRACE), said("ResourceReady", "False", GRACE)),
            GRACE,
            None,
            id="never admitted, and the nodes never ready",
        ),
        pytest.param(
            told(a_workspace(), NODES, not_ready(GRACE, REFUSED), waits=GRACE),
            GRACE,
            None,
            id="never admitted",
        ),
        pytest.param(
            told(a_workspace(), NODES, not_ready(OLD, "WorkspaceInferenceStatusPending")),
            OLD,
            GRACE,
            id="a pod loaded the model a moment ago",
        ),
        pytest.param(
            told(a_workspace(), NODES, not_ready(OLD, REFUSED), waits=ALMOST),
            OLD,
            GRACE - ALMOST,
            id="a pod loaded the model before",
        ),
        pytest.param(
            told(a_workspace(), NODES, not_ready(OLD, REFUSED), waits=GRACE),
            OLD,
            None,
            id="no pod for long",
        ),
    ],
)
def test_nodes_do_not_wait_for_ever_for_pods_that_nobody_admits(
    workspace: Workspace, age: timedelta, left: timedelta | None
) -> None:
    plan = make_plan(workspace, seen_for(age, stateful_set=a_stateful_set()), SETTINGS)
    assert gives_back(plan) is (left is None)
    if left is not None:
        assert plan.look_again == left.total_seconds()


def test_pods_that_are_there_keep_their_nodes() -> None:
    seen = seen_for(stateful_set=a_stateful_set(), pods=(a_pod(),))
    assert not gives_back(make_plan(told(a_workspace(), not_ready(OLD)), seen, SETTINGS))


def test_a_quota_that_can_never_admit_it_leaves_a_moment_to_correct_it() -> None:
    seen = seen_for(allowed="0", stateful_set=a_stateful_set())
    plan = make_plan(told(a_workspace(), SERVES), seen, SETTINGS)
    assert not gives_back(plan)
    assert plan.look_again == 60
    gone = told(a_workspace(), not_ready(timedelta(minutes=1)))
    assert gives_back(make_plan(gone, seen, SETTINGS))


def test_what_has_served_gives_its_nodes_back_in_the_end() -> None:
    """Round by round, as its own status has it."""
    workspace = told(a_workspace(), NODES, SERVES)
    seen = seen_for(stateful_set=a_stateful_set())
    for minutes in (0, 0, 7, 14):
        later = at(seen, minutes)
        plan = make_plan(workspace, later, SETTINGS)
        assert not gives_back(plan), minutes
        after = workspace_status(workspace, plan, later, now=later.now)
        workspace = workspace.model_copy(update={"status": after})
    assert gives_back(make_plan(workspace, at(seen, 15), SETTINGS))


def at(seen: Observed, minutes: int) -> Observed:
    return dataclasses.replace(seen, now=NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize("pods", ["none", "failed"])
def test_a_tuning_keeps_its_node_while_its_next_pod_is_made(pods: str) -> None:
    """Round by round: the Job runs, its pod is gone or has failed, and the next is refused."""
    workspace = told(a_tuning(), NODES, said("JobStarted", "True"))
    first = make_plan(workspace, seen_for(resource_quotas=()), SETTINGS)
    (job,) = (each for each in first.create if each["kind"] == "Job")
    failed = msgspec.structs.replace(
        a_training_pod(), status=msgspec.structs.replace(a_training_pod().status, phase="Failed")
    )
    given = () if pods == "none" else (failed,)
    seen = seen_for(job=a_job(job, active=1), pods=given)
    for minutes in (0, 0, 14):
        later = at(seen, minutes)
        plan = make_plan(workspace, later, SETTINGS)
        assert not gives_back(plan), minutes
        after = workspace_status(workspace, plan, later, now=later.now)
        workspace = workspace.model_copy(update={"status": after})
        assert workspace.condition("JobStarted").reason == REFUSED
    assert gives_back(make_plan(workspace, at(seen, 15), SETTINGS))


def an_engine(*conditions: Condition) -> RAGEngine:
    return ragengines.an_engine(conditions=tuple(map(msgspec.to_builtins, conditions)))


@pytest.mark.parametrize(
    ("engine", "left"),
    [
        pytest.param(an_engine(NODES, said("ServiceReady", "True")), GRACE, id="it answered"),
        pytest.param(
            an_engine(
                NODES,
                said("ServiceReady", "False", OLD, REFUSED),
                said("RAGEngineServiceReady", "False", ALMOST),
            ),
            GRACE - ALMOST,
            id="it was starting before",
        ),
        pytest.param(
            an_engine(
                NODES,
                said("ServiceReady", "False", OLD, REFUSED),
                said("RAGEngineServiceReady", "False", GRACE),
            ),
            None,
            id="for long",
        ),
    ],
)
def test_an_engines_node_waits_as_long(engine: RAGEngine, left: timedelta | None) -> None:
    claim = aged(ragengines.a_claim("ws1", node="node-1", ready=True), OLD)
    seen = ragengines.a_ready_world(claims=(claim,), resource_quotas=(full(),))
    plan = engine_plan(engine, seen, SETTINGS)
    assert gives_back(plan) is (left is None)
    if left is not None:
        assert plan.look_again == left.total_seconds()


def test_an_evicted_pod_that_stays_does_not_hide_that_the_next_is_refused() -> None:
    """Else nobody would see since when the node waits."""
    evicted = msgspec.structs.replace(
        ragengines.a_pod(),
        status=msgspec.structs.replace(ragengines.a_pod().status, phase="Failed", reason="Evicted"),
    )
    seen = ragengines.a_ready_world(pods=(evicted,), resource_quotas=(full(),))
    plan = engine_plan(an_engine(NODES), seen, SETTINGS)
    (ready,) = (each for each in plan.conditions if each.type == "ServiceReady")
    assert ready.reason == REFUSED
