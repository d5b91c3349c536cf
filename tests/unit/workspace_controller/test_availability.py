"""What serves goes on serving while an edit waits for nodes, or cannot work at all."""

from __future__ import annotations

import msgspec
import pytest

from kube.meta import ObjectMeta, find_condition
from tests.builders import a_config, a_pod, a_stateful_set, a_workspace, a_world, settings
from workspace_controller.workspace.availability import availability
from workspace_controller.workspace.plan import make_plan

SETTINGS = settings()
LARGE = {"preset": "large-70b", "instance_type": "local-gpu-2"}


def over(nodes: int):
    """A StatefulSet whose engine lies over so many nodes."""
    found = a_stateful_set(replicas=nodes, ready=nodes)
    metadata = ObjectMeta(
        name="falcon", namespace="default", annotations={"kaito.sh/nodes": str(nodes)}
    )
    return msgspec.structs.replace(found, metadata=metadata)


def pods(*ready: bool):
    return tuple(a_pod(f"falcon-{at}", ready=each) for at, each in enumerate(ready))


@pytest.mark.parametrize(
    ("seen", "serves"),
    [
        pytest.param({}, False, id="nothing deployed"),
        pytest.param({"stateful_set": over(1)}, False, id="no pods"),
        pytest.param({"stateful_set": over(1), "pods": pods(True)}, True, id="one"),
        pytest.param({"stateful_set": over(1), "pods": pods(False)}, False, id="one that is down"),
        pytest.param({"stateful_set": over(1), "pods": pods(True, False)}, True, id="a second"),
        pytest.param({"stateful_set": over(2), "pods": pods(True, False)}, False, id="half"),
        pytest.param({"stateful_set": over(2), "pods": pods(True, True)}, True, id="all of two"),
        pytest.param({"stateful_set": over(2), "pods": pods(True)}, False, id="one is gone"),
    ],
)
def test_what_serves_is_told_by_its_pods(seen, serves):
    plan = availability(a_workspace(), a_world(**seen), SETTINGS)
    told = find_condition(plan.conditions, "InferenceReady")
    assert (told is not None and told.status == "True") == serves


def test_growing_is_told_while_its_nodes_come():
    seen = a_world(stateful_set=over(1), pods=pods(True))
    plan = make_plan(a_workspace(**LARGE), seen, SETTINGS)
    told = plan.status["rollout"]
    assert (told.effect, told.phase) == ("ReplaceNodes", "Replacing")
    assert told.message.startswith("1 of ")
    assert find_condition(plan.conditions, "InferenceReady").status == "True"
    assert plan.waits_for


def test_an_edit_that_cannot_work_takes_nothing_away():
    seen = a_world(
        stateful_set=over(1), pods=pods(True), config=a_config("vllm:\n  max-model-len: 99999\n")
    )
    plan = make_plan(a_workspace(inference={"config": "options"}), seen, SETTINGS)
    assert find_condition(plan.conditions, "ResourceReady").reason == "InvalidConfig"
    assert find_condition(plan.conditions, "InferenceReady").status == "True"
    assert "rollout" not in plan.status
