"""The whole decision: what a round does, given what is there."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from apis.kaito.validation import describe, validate_create
from kube.meta import Condition
from kube.objects import Unstructured
from tests.builders import (
    UID,
    a_claim,
    a_config,
    a_gpu_node,
    a_node,
    a_pod,
    a_stateful_set,
    a_workspace,
    a_world,
    settings,
)
from workspace_controller.errors import UserError
from workspace_controller.nodes.attempts import claim_name
from workspace_controller.plan import Plan
from workspace_controller.workspace.plan import make_plan

SETTINGS = settings()
FIRST = claim_name(UID, 0, 1)
WITH_NODE = {
    "claims": (a_claim(FIRST, node="node-1", ready=True),),
    "nodes": (a_node(),),
}


def made(plan: Plan) -> list[tuple[str, str]]:
    """What is made, but for the revisions that are kept of it (test_history)."""
    found = [(each["kind"], each["metadata"]["name"]) for each in (*plan.create, *plan.apply)]
    return [each for each in found if each[0] != "ControllerRevision"]


def said(plan: Plan) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in plan.conditions}


@pytest.mark.parametrize(
    ("seen", "waits_for"),
    [
        pytest.param(a_world(), "NodeClaimNotReady", id="nothing yet"),
        pytest.param(a_world(claims=(a_claim(FIRST),)), "NodeClaimNotReady", id="claim made"),
        pytest.param(
            a_world(claims=(a_claim(FIRST, node="node-1", ready=True),)),
            "NodeNotReady",
            id="node not seen",
        ),
        pytest.param(
            a_world(**{**WITH_NODE, "nodes": (a_node(gpus=0),)}),
            "NodePluginsNotReady",
            id="no GPUs yet",
        ),
        pytest.param(a_world(**WITH_NODE), "WorkspaceInferenceStatusPending", id="nodes ready"),
        pytest.param(
            a_world(**WITH_NODE, stateful_set=a_stateful_set(), pods=(a_pod(ready=True),)),
            None,
            id="serving",
        ),
    ],
)
def test_what_is_waited_for(seen, waits_for):
    assert make_plan(a_workspace(), seen, SETTINGS).waits_for == waits_for


def test_no_workload_before_its_nodes():
    assert made(make_plan(a_workspace(), a_world(), SETTINGS)) == [("NodeClaim", FIRST)]


def test_the_workload_once_the_nodes_are_ready():
    assert made(make_plan(a_workspace(), a_world(**WITH_NODE), SETTINGS)) == [
        ("Secret", "falcon-adapters"),
        ("Service", "falcon-headless"),
        ("Service", "falcon"),
        ("StatefulSet", "falcon"),
    ]


def test_a_model_for_several_nodes_asks_for_several():
    plan = make_plan(a_workspace(preset="large-70b"), a_world(), SETTINGS)
    assert plan.target_node_count == len(plan.create)
    assert plan.target_node_count > 1


def test_claims_only_for_gpu_and_cpu_types_alike():
    plan = make_plan(a_workspace(instance_type="local-cpu-2"), a_world(), SETTINGS)
    assert (plan.target_node_count, len(plan.create)) == (1, 1)


@pytest.mark.parametrize(
    ("workspace", "reason", "words"),
    [
        pytest.param(
            a_workspace(preset="smal-1b"), "InvalidPreset", 'did you mean "small-1b"', id="preset"
        ),
        pytest.param(
            a_workspace(preset="someone/Unheard-Of"),
            "InvalidPreset",
            "someone/Unheard-Of",
            id="not in the catalogue",
        ),
        pytest.param(
            a_workspace(instance_type="local-gpu-9"),
            "InvalidInstanceType",
            'did you mean "local-gpu-',
            id="instance type",
        ),
        pytest.param(
            a_workspace(preset="large-70b", instance_type="local-cpu-2"),
            "ModelDoesNotFit",
            "GiB",
            id="does not fit",
        ),
        pytest.param(
            a_workspace(preset="gated-1b"), "InvalidPreset", "modelAccessSecret", id="gated"
        ),
        pytest.param(
            a_workspace(
                instance_type="local-gpu-2",
                annotations={"kaito.sh/runtime": "llamacpp"},
                inference={
                    "preset": {"name": "large-70b", "presetOptions": {"image": "r.example/own:7"}}
                },
            ),
            "RuntimeNotSupported",
            "has no GGUF file",
            id="runtime",
        ),
        pytest.param(
            a_workspace(inference={"config": "options"}), "InvalidConfig", "options", id="config"
        ),
        pytest.param(
            a_workspace(inference={"preset": None}), "InvalidWorkspace", "preset", id="neither"
        ),
        pytest.param(
            a_workspace(inference={"template": {"spec": {}}}),
            "InvalidWorkspace",
            "exactly one of preset and template",
            id="both",
        ),
    ],
)
def test_what_only_the_user_can_mend_blocks_and_says_so(workspace, reason, words):
    plan = make_plan(workspace, a_world(), SETTINGS)
    assert made(plan) == []
    assert plan.look_again is None
    assert said(plan)["ResourceReady"] == ("False", reason)
    assert plan.blocked is not None
    assert words in plan.blocked.message


def test_refusals_have_the_words_of_admission():
    workspace = a_workspace(preset="smal-1b")
    plan = make_plan(workspace, a_world(), SETTINGS)
    assert plan.blocked is not None
    assert plan.blocked.message == describe(validate_create(workspace, SETTINGS.facts))


def test_a_promised_context_reaches_the_engine():
    workspace = a_workspace(inference={"config": "options"})
    plan = make_plan(workspace, a_world(**WITH_NODE, config=a_config()), SETTINGS)
    stateful_set = plan.apply[-1]
    arguments = stateful_set["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--max-model-len=4096" in arguments


def engine(plan: Plan) -> str:
    return plan.apply[-1]["spec"]["template"]["spec"]["containers"][0]["command"][-1]


CPU_NODE = {
    "claims": WITH_NODE["claims"],
    "nodes": (a_node(instance_type="local-cpu-2", gpus=0),),
}


@pytest.mark.parametrize(
    ("type_", "runtime", "expected"),
    [
        pytest.param("local-gpu-1", "", "serving.vllm", id="GPU"),
        pytest.param("local-gpu-1", "vllm", "serving.vllm", id="GPU, vllm"),
        pytest.param("local-cpu-2", "", "serving.llamacpp", id="CPU"),
        pytest.param("local-cpu-2", "llamacpp", "serving.llamacpp", id="CPU, llamacpp"),
    ],
)
def test_the_engine_is_the_users_choice_or_the_nodes(type_, runtime, expected):
    annotations = {"kaito.sh/runtime": runtime} if runtime else {}
    workspace = a_workspace(instance_type=type_, annotations=annotations)
    seen = a_world(**(CPU_NODE if "cpu" in type_ else WITH_NODE))
    assert engine(make_plan(workspace, seen, SETTINGS)) == expected


LLAMACPP = {"instance_type": "local-cpu-2", "annotations": {"kaito.sh/runtime": "llamacpp"}}


def test_a_config_map_must_be_there_whichever_engine_reads_it():
    workspace = a_workspace(inference={"config": "options"}, **LLAMACPP)
    plan = make_plan(workspace, a_world(), SETTINGS)
    assert said(plan)["ResourceReady"] == ("False", "InvalidConfig")


@pytest.mark.parametrize("text", ["{", "- a\n", "vllm: 7\n", "vllm:\n  port: 80\n"])
def test_a_wrong_file_is_refused_whichever_engine_reads_it(text):
    workspace = a_workspace(inference={"config": "options"}, **LLAMACPP)
    plan = make_plan(workspace, a_world(config=a_config(text)), SETTINGS)
    assert said(plan)["ResourceReady"] == ("False", "InvalidConfig")


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        pytest.param("vllm: {max_model_len: auto}", ["--max-model-len=32768"], id="auto"),
        pytest.param("vllm: {max-model-len: 4k}", ["--max-model-len=4000"], id="thousands"),
        pytest.param("tgi: {max-total-tokens: 64}", ["--max-model-len=32768"], id="of another"),
        pytest.param(
            "vllm: {gpu-memory-utilization: 0.5}", ["--gpu-memory-utilization=0.5"], id="share"
        ),
    ],
)
def test_what_the_user_promises_is_planned_with(text, flags):
    workspace = a_workspace(inference={"config": "options"})
    plan = make_plan(workspace, a_world(config=a_config(text), **WITH_NODE), SETTINGS)
    (container,) = plan.apply[-1]["spec"]["template"]["spec"]["containers"]
    assert {*flags} <= {*container["args"]}


def test_a_smaller_share_of_the_gpus_takes_more_nodes():
    """What the engine may not use cannot hold the model."""
    workspace = a_workspace(
        preset="large-70b", instance_type="local-gpu-2", inference={"config": "options"}
    )
    asked = {
        share: make_plan(
            workspace,
            a_world(config=a_config(f"vllm: {{gpu-memory-utilization: {share}}}")),
            SETTINGS,
        ).target_node_count
        for share in (0.92, 0.4)
    }
    assert asked[0.92] == 2
    assert asked[0.4] > 2


def test_a_promise_beyond_the_model_is_refused():
    workspace = a_workspace(inference={"config": "options"})
    config = a_config("vllm:\n  max-model-len: 99999\n")
    plan = make_plan(workspace, a_world(config=config), SETTINGS)
    assert said(plan)["ResourceReady"] == ("False", "InvalidConfig")


def test_what_is_as_it_should_be_is_not_applied_again():
    applied = {}
    for manifest in make_plan(a_workspace(), a_world(**WITH_NODE), SETTINGS).apply:
        applied[manifest["kind"], manifest["metadata"]["name"]] = manifest
    seen = a_world(**WITH_NODE, **live(applied))
    assert make_plan(a_workspace(), seen, SETTINGS).apply == ()


def live(applied):
    """As the API server gives it back, without kind and version."""

    def stored(manifest):
        fields = {key: manifest[key] for key in ("metadata", "spec")}
        return msgspec.convert(fields, Unstructured)

    return {
        "stateful_set": stored(applied["StatefulSet", "falcon"]),
        "services": {
            name: stored(applied["Service", name]) for name in ("falcon", "falcon-headless")
        },
    }


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        pytest.param(
            {"annotations": {"kaito.sh/enablelb": "True"}}, [("Service", "falcon")], id="balancer"
        ),
        pytest.param(
            {"annotations": {"kaito.sh/performance-mode": "throughput"}},
            [("StatefulSet", "falcon")],
            id="performance mode",
        ),
        pytest.param(
            {"annotations": {"kaito.sh/use-local-weights": "true"}},
            [("StatefulSet", "falcon")],
            id="weights",
        ),
        pytest.param(
            {"inference": {"config": "options"}}, [("StatefulSet", "falcon")], id="config"
        ),
        pytest.param(
            {"inference": {"adapters": [{"source": {"name": "a", "image": "a:1"}}]}},
            [("StatefulSet", "falcon")],
            id="adapter",
        ),
    ],
)
def test_an_edit_reaches_the_children_in_the_round_in_which_it_is_seen(edit, changed):
    applied = {}
    for manifest in make_plan(a_workspace(), a_world(**WITH_NODE), SETTINGS).apply:
        applied[manifest["kind"], manifest["metadata"]["name"]] = manifest
    seen = a_world(**WITH_NODE, config=a_config(), **live(applied))
    plan = make_plan(a_workspace(**edit), seen, SETTINGS)
    assert made(plan) == changed


def test_a_stateful_set_of_an_earlier_controller_keeps_what_cannot_change():
    theirs = a_stateful_set(
        serviceName="old",
        podManagementPolicy="OrderedReady",
        selector={"matchLabels": {"kaito.sh/workspace": "falcon", "role": "old"}},
    )
    plan = make_plan(a_workspace(), a_world(**WITH_NODE, stateful_set=theirs), SETTINGS)
    spec = plan.apply[-1]["spec"]
    assert spec["serviceName"] == "old"
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["selector"] == theirs.spec["selector"]
    assert spec["template"]["metadata"]["labels"]["role"] == "old"


@pytest.mark.parametrize(
    ("stateful_set", "pods", "expected"),
    [
        pytest.param(None, (), ("False", "WorkspaceInferenceStatusPending"), id="none"),
        pytest.param(
            a_stateful_set(),
            (a_pod(ready=True),),
            ("True", "WorkspaceInferenceStatusSuccess"),
            id="ready, whatever the counts say",
        ),
        pytest.param(
            a_stateful_set(ready=1),
            (),
            ("False", "WorkspaceInferenceStatusPending"),
            id="counts without a pod",
        ),
        pytest.param(
            a_stateful_set(ready=1),
            (a_pod(),),
            ("False", "WorkspaceInferenceStatusPending"),
            id="counts that the pod contradicts",
        ),
        pytest.param(
            a_stateful_set(ready=1),
            (a_pod("falcon-1", ready=True),),
            ("False", "WorkspaceInferenceStatusPending"),
            id="a pod that the Service does not select",
        ),
        pytest.param(
            a_stateful_set(ready=1),
            (a_pod(ready=True, phase="Failed"),),
            ("False", "WorkspaceInferenceStatusPending"),
            id="a pod that has ended",
        ),
        pytest.param(
            a_stateful_set(replicas=0),
            (),
            ("False", "WorkspaceInferenceStatusPending"),
            id="none is wanted",
        ),
        pytest.param(
            a_stateful_set(),
            (a_pod(waiting=("ImagePullBackOff", "no such image")),),
            ("False", "ImagePullError"),
            id="a pod says why",
        ),
    ],
)
def test_inference_ready(stateful_set, pods, expected):
    seen = a_world(**WITH_NODE, stateful_set=stateful_set, pods=pods)
    assert said(make_plan(a_workspace(), seen, SETTINGS))["InferenceReady"] == expected


def test_nodes_of_ones_own_are_waited_for_and_used():
    byo = settings(byo=True)
    workspace = a_workspace(instance_type="")
    assert make_plan(workspace, a_world(), byo).waits_for == "NodeNotReady"
    plan = make_plan(workspace, a_world(nodes=(a_gpu_node(),)), byo)
    assert ("StatefulSet", "falcon") in made(plan)
    affinity = yaml.safe_dump(plan.apply[-1]["spec"]["template"]["spec"]["affinity"])
    assert "kaito.sh/workspace" not in affinity


def test_plans_add_up_and_the_later_word_counts():
    def said_(status, reason):
        return Condition(type="NodesReady", status=status, reason=reason)

    first = Plan(
        annotations={"a": "1"},
        conditions=(said_("False", "Old"),),
        look_again=20.0,
        waits_for="Old",
        target_node_count=1,
    )
    second = Plan(
        annotations={"b": "2"}, conditions=(said_("True", "New"),), look_again=5.0, worker_nodes=()
    )
    both = first + second
    assert both.annotations == {"a": "1", "b": "2"}
    assert [condition.reason for condition in both.conditions] == ["New"]
    assert (both.look_again, both.waits_for) == (5.0, "Old")
    assert (both.target_node_count, both.worker_nodes) == (1, ())


def test_a_refusal_is_a_condition():
    plan = Plan() + Plan.refused(UserError("ResourceReady", "InvalidPreset", "why"))
    assert said(plan) == {"ResourceReady": ("False", "InvalidPreset")}
    assert plan.waits_for == "InvalidPreset"
