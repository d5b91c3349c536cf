"""What is made of a Workspace, against files that show it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from apis.kaito.v1beta1.workspace import AdapterSpec, Workspace
from kube.meta import Manifest
from presets.engines import llamacpp, vllm
from tests.builders import (
    CATALOG,
    UID,
    a_claim,
    a_config,
    a_node,
    a_workspace,
    a_workspace_manifest,
    a_world,
    settings,
)
from workspace_controller.manifests import adapters, probes, scheduling
from workspace_controller.manifests.containers import options
from workspace_controller.nodes.attempts import claim_name
from workspace_controller.workspace.plan import make_plan

GOLDEN = Path(__file__).parents[2] / "golden" / "workspace"
SECRET = {"presetOptions": {"modelAccessSecret": "hub-token"}}
ADAPTERS = [
    {
        "source": {
            "name": "legal",
            "image": "registry.example/legal:1",
            "imagePullSecrets": ["pull"],
        }
    },
    {
        "source": {
            "name": "style",
            "volumeSource": {"persistentVolumeClaim": {"claimName": "style"}},
        }
    },
]
TEMPLATE = {
    "metadata": {"labels": {"team": "search"}},
    "spec": {
        "containers": [{"name": "own", "image": "registry.example/own:1"}],
        "affinity": {"podAffinity": {"kept": True}, "nodeAffinity": {"replaced": True}},
        "tolerations": [{"key": "own", "operator": "Exists"}],
    },
}

CASES = [
    pytest.param("claim-local-gpu", {}, "local", id="a claim for a GPU node of the local cluster"),
    pytest.param("claim-local-cpu", {"instance_type": "local-cpu-2"}, "local", id="for a CPU node"),
    pytest.param(
        "claim-azure",
        {
            "instance_type": "Standard_NC24ads_A100_v4",
            "annotations": {"kaito.sh/node-image-family": "AzureLinux"},
        },
        "azure",
        id="for Azure's provisioner",
    ),
    pytest.param("claim-aws", {"instance_type": "g5.xlarge"}, "aws", id="for Karpenter on AWS"),
    pytest.param("workload-vllm", {}, "local", id="vLLM on one GPU node"),
    pytest.param(
        "workload-options",
        {
            "annotations": {
                "kaito.sh/enablelb": "True",
                "kaito.sh/performance-mode": "interactivity",
            },
            "inference": {
                "preset": {"name": "gated-1b", **SECRET},
                "config": "options",
                "adapters": ADAPTERS,
            },
        },
        "local",
        id="with all that a user may ask for",
    ),
    pytest.param(
        "workload-llamacpp",
        {
            "instance_type": "local-cpu-2",
            "annotations": {"kaito.sh/use-local-weights": "true"},
        },
        "local",
        id="llama.cpp on a CPU node, with the node's own weights",
    ),
    pytest.param(
        "workload-distributed",
        {"preset": "large-70b", "instance_type": "local-gpu-2"},
        "local",
        id="vLLM over several nodes",
    ),
    pytest.param(
        "workload-template",
        {"inference": {"preset": None, "template": TEMPLATE}},
        "local",
        id="a pod of the user's own",
    ),
]


def manifests(name: str, given: dict, cloud: str) -> list[Manifest]:
    """What the plan makes: claims while there are none, the workload once there are nodes."""
    workspace = a_workspace(**given)
    if name.startswith("claim"):
        return list(make_plan(workspace, a_world(), settings(cloud=cloud)).create)
    nodes = make_plan(workspace, a_world(config=a_config()), settings()).target_node_count or 0
    names = [claim_name(UID, ordinal, 1) for ordinal in range(nodes)]
    type_ = given.get("instance_type", "local-gpu-1")
    seen = a_world(
        claims=tuple(
            a_claim(each, ordinal=at, node=f"node-{at}", ready=True)
            for at, each in enumerate(names)
        ),
        nodes=tuple(a_node(f"node-{at}", instance_type=type_, gpus=2) for at in range(nodes)),
        config=a_config(),
    )
    return list(make_plan(workspace, seen, settings()).apply)


@pytest.mark.parametrize(("name", "given", "cloud"), CASES)
def test_manifests_are_as_the_golden_file_shows_them(name, given, cloud):
    expected = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    made = manifests(name, given, cloud)
    for manifest in made:
        manifest["metadata"].get("annotations", {}).pop("kaito.sh/applied-hash", None)
        if not manifest["metadata"].get("annotations", True):
            del manifest["metadata"]["annotations"]
    assert made == expected


def test_the_engine_is_told_what_was_planned():
    """The flags come from the Fit that also counted the nodes."""
    workspace = a_workspace(preset="large-70b", instance_type="local-gpu-2")
    plan = make_plan(workspace, a_world(), settings())
    made = manifests("workload", {"preset": "large-70b", "instance_type": "local-gpu-2"}, "local")[
        -1
    ]
    arguments = made["spec"]["template"]["spec"]["containers"][0]["args"]
    assert made["spec"]["replicas"] == plan.target_node_count
    assert f"--pipeline-parallel-size={plan.target_node_count}" in arguments


def test_a_child_of_an_inferenceset_serves_under_its_name():
    manifest = a_workspace_manifest()
    manifest["metadata"]["labels"] = {"inferenceset.kaito.sh/created-by": "chat"}
    model = CATALOG.get("small-1b")
    assert options(Workspace.model_validate(manifest), model).served_model_name == "chat"


@pytest.mark.parametrize("seconds", [1800, 1801, 10800])
def test_a_start_may_take_as_long_as_it_was_given(seconds):
    probe = probes.startup(seconds)
    assert probe["periodSeconds"] * probe["failureThreshold"] >= seconds
    assert probe["periodSeconds"] * (probe["failureThreshold"] - 1) < seconds


def test_both_engines_have_one_face():
    assert {*dir(vllm)} >= {"argv", "environment"} <= {*dir(llamacpp)}


def test_where_any_node_will_do_there_is_no_affinity():
    assert scheduling.node_affinity({}) is None


def test_names_of_adapters_become_labels():
    source = {"name": f"legal.v1.{'x' * 80}", "image": "a:1", "imagePullSecrets": ["hub.pull"]}
    given = AdapterSpec.model_validate({"source": source})
    found = adapters.adapters([given, AdapterSpec()])
    names = [each["name"] for each in (*found.volumes, *found.init_containers)]
    assert len(names) == 3
    assert all(len(name) <= 63 and "." not in name for name in names)


def test_strengths_are_told_by_the_adapters_names():
    given = AdapterSpec.model_validate({"source": {"name": "legal"}, "strength": "0.5"})
    assert adapters.strengths([given, AdapterSpec()]) == [{"name": "legal", "value": "0.5"}]
