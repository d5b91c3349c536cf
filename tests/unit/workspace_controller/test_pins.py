"""Presets that the catalogue has not pinned: which commit is served, and what is waited for."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from kube.meta import Condition
from presets.catalog import Catalog
from tests.builders import (
    CATALOG,
    NOW,
    SMALL,
    a_claim,
    a_node,
    a_stateful_set,
    a_workspace,
    a_world,
    settings,
)
from workspace_controller.workspace import models
from workspace_controller.workspace.models import Commit, Pending, Question, Refused
from workspace_controller.workspace.pins import (
    PATIENCE_SECONDS,
    PINNED_ANNOTATION,
    as_pinned,
    question,
)
from workspace_controller.workspace.plan import make_plan

COMMIT, OTHER = "c" * 40, "d" * 40
IMAGE = f"oci://r.example/m@sha256:{'0' * 64}"
ASKING = Pending("asking hub.example", 60.0)
SETTINGS = settings()
PINNED_CATALOG = Catalog([msgspec.structs.replace(SMALL, revision=OTHER)])


def pinned_to(revision: str, repository: str = SMALL.hf_id, **given):
    return a_workspace(annotations={PINNED_ANNOTATION: f"{repository}@{revision}"}, **given)


def ready_for(seconds: float):
    """A Workspace whose nodes have been ready for so long."""
    since = NOW - timedelta(seconds=seconds)
    workspace = a_workspace()
    told = Condition(type="ResourceReady", status="True", last_transition_time=since)
    status = workspace.status.model_copy(update={"conditions": (told,)})
    return workspace.model_copy(update={"status": status})


def with_nodes(**more):
    claim = a_claim("ws-1", node="node-1", ready=True)
    return a_world(claims=(claim,), nodes=(a_node(),), **more)


def stateful_set(plan):
    return next((each for each in plan.apply if each["kind"] == "StatefulSet"), None)


def downloaded(found) -> list[str]:
    containers = found["spec"]["template"]["spec"]["initContainers"]
    return next(each["args"] for each in containers if each["name"] == "weights")


def running(plan):
    """The StatefulSet of a plan as the API server has it."""
    found = stateful_set(plan)
    return a_stateful_set(**{**found["spec"], "replicas": 1})


@pytest.mark.parametrize(
    ("workspace", "asked"),
    [
        pytest.param(a_workspace(), True, id="not pinned"),
        pytest.param(pinned_to(COMMIT), False, id="pinned"),
        pytest.param(pinned_to("main"), False, id="settled not to be"),
        pytest.param(pinned_to(COMMIT, "Other/M"), True, id="of another model"),
        pytest.param(pinned_to("v1"), True, id="no commit"),
        pytest.param(a_workspace(preset="Someone/Unknown"), False, id="not in the catalogue"),
        pytest.param(
            a_workspace(annotations={"kaito.sh/use-local-weights": "true"}), False, id="local"
        ),
        pytest.param(
            a_workspace(annotations={"kaito.sh/model-weights": "pvc://mine"}), False, id="claim"
        ),
        pytest.param(
            a_workspace(annotations={"kaito.sh/model-weights": IMAGE}),
            False,
            id="image",
        ),
        pytest.param(
            a_workspace(annotations={"kaito.sh/model-weights": f"hf://own/tune@{COMMIT}"}),
            False,
            id="a fine-tune",
        ),
    ],
)  # fmt: skip
def test_who_is_asked_about(workspace, asked):
    found = question(workspace, CATALOG)
    assert found == (Question(SMALL.hf_id, "default", commit_alone=True) if asked else None)


def test_what_the_catalogue_has_pinned_is_not_asked_about():
    assert question(a_workspace(), PINNED_CATALOG) is None


def test_the_commit_is_written_down_with_the_first_pods_that_have_it():
    plan = make_plan(a_workspace(), with_nodes(pin=Commit(COMMIT)), SETTINGS)
    assert plan.annotations[PINNED_ANNOTATION] == f"{SMALL.hf_id}@{COMMIT}"
    assert f"--revision={COMMIT}" in downloaded(stateful_set(plan))
    assert plan.status["serving"].revision == COMMIT


def test_what_is_written_down_stays_and_is_not_written_again():
    plan = make_plan(pinned_to(COMMIT), with_nodes(pin=Commit(OTHER)), SETTINGS)
    assert PINNED_ANNOTATION not in plan.annotations
    assert f"--revision={COMMIT}" in downloaded(stateful_set(plan))


def test_what_the_user_writes_wins_over_the_catalogue():
    known = models.known(a_workspace(), PINNED_CATALOG)
    assert as_pinned(pinned_to(COMMIT), known, a_world()).revision == COMMIT
    assert as_pinned(pinned_to("main"), known, a_world()).revision == OTHER


def test_an_answer_that_is_not_there_keeps_no_node_waiting():
    plan = make_plan(a_workspace(), a_world(pin=ASKING), SETTINGS)
    assert [each["kind"] for each in plan.create] == ["NodeClaim"]
    assert PINNED_ANNOTATION not in plan.annotations


@pytest.mark.parametrize("seconds", [None, 0, PATIENCE_SECONDS - 1])
def test_nodes_that_are_ready_wait_a_little(seconds):
    workspace = a_workspace() if seconds is None else ready_for(seconds)
    plan = make_plan(workspace, with_nodes(pin=ASKING), SETTINGS)
    assert stateful_set(plan) is None
    assert plan.waits_for == "ModelCommitPending"
    assert plan.look_again == PATIENCE_SECONDS - (seconds or 0)
    told = {each.type: each for each in plan.conditions}
    assert told["ResourceReady"].status == "True"
    assert told["InferenceReady"].reason == "ModelCommitPending"
    assert told["InferenceReady"].message == (
        "asking hub.example; without an answer the pods start unpinned, 20 s after the nodes were"
        " ready"
    )


def test_a_question_that_is_asked_again_sooner_is_looked_at_sooner():
    plan = make_plan(ready_for(0), with_nodes(pin=Pending("no answer", 3.0)), SETTINGS)
    assert plan.look_again == 3


@pytest.mark.parametrize(
    ("workspace", "pin"),
    [
        pytest.param(ready_for(PATIENCE_SECONDS), ASKING, id="no answer in time"),
        pytest.param(a_workspace(), Refused("x", "asking hub.example", 600.0), id="refused"),
    ],
)
def test_without_an_answer_it_starts_unpinned_and_says_so_once(workspace, pin):
    plan = make_plan(workspace, with_nodes(pin=pin), SETTINGS)
    assert plan.annotations[PINNED_ANNOTATION] == f"{SMALL.hf_id}@main"
    assert not [each for each in downloaded(stateful_set(plan)) if "--revision" in each]
    assert plan.status["serving"].revision == ""
    (event,) = [each for each in plan.events if each.reason == "ModelNotPinned"]
    assert event.type == "Warning"
    assert "asking hub.example" in event.message
    again = make_plan(pinned_to("main"), with_nodes(pin=Commit(COMMIT)), SETTINGS)
    assert PINNED_ANNOTATION not in again.annotations
    assert stateful_set(again)["spec"]["template"] == stateful_set(plan)["spec"]["template"]
    assert again.events == ()


def test_nobody_is_told_where_nobody_is_asked():
    plan = make_plan(a_workspace(), with_nodes(), SETTINGS)
    assert PINNED_ANNOTATION not in plan.annotations
    assert plan.events == ()
    assert stateful_set(plan) is not None


def test_what_runs_unpinned_is_not_rolled():
    before = make_plan(a_workspace(), with_nodes(), SETTINGS)
    after = make_plan(a_workspace(), with_nodes(stateful_set=running(before)), SETTINGS)
    assert PINNED_ANNOTATION not in after.annotations
    assert stateful_set(after) is None or (
        stateful_set(after)["spec"]["template"] == stateful_set(before)["spec"]["template"]
    )


def test_an_annotation_that_is_lost_comes_back_from_what_runs():
    before = make_plan(pinned_to(COMMIT), with_nodes(), SETTINGS)
    after = make_plan(a_workspace(), with_nodes(stateful_set=running(before)), SETTINGS)
    assert after.annotations[PINNED_ANNOTATION] == f"{SMALL.hf_id}@{COMMIT}"
    assert after.status["serving"].revision == COMMIT
