"""What is made of a Workspace, against files that show it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

import cloudproviders
from apis.gpu import GPU
from apis.kaito.v1beta1.workspace import AdapterSpec, Workspace
from kube.meta import Manifest
from kube.objects import Node
from presets import estimate
from presets.engines.registry import ENGINES
from presets.fits import Fit
from tests.builders import (
    CATALOG,
    UID,
    a_claim,
    a_config,
    a_gpu_node,
    a_node,
    a_workspace,
    a_workspace_manifest,
    a_world,
    settings,
)
from workspace_controller.manifests import adapters, containers, probes, scheduling
from workspace_controller.manifests.adapters import Bringer
from workspace_controller.manifests.containers import options
from workspace_controller.nodes.attempts import claim_name
from workspace_controller.nodes.provisioner import Need, NodeShape
from workspace_controller.workspace.plan import make_plan
from workspace_controller.workspace.sizing import Served, Sizing
from workspace_controller.workspace.weights import Source

ONE_GPU = Fit(nodes=1, gpus_per_node=1)
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
                "kaito.sh/api-key-secret": "model-keys",
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
        id="vLLM over several nodes, joined by Ray",
    ),
    pytest.param(
        "workload-distributed-mp",
        {
            "preset": "large-70b",
            "instance_type": "local-gpu-2",
            "annotations": {"kaito.sh/distributed-executor": "mp"},
        },
        "local",
        id="vLLM over several nodes, joined by itself",
    ),
    pytest.param(
        "workload-llamacpp-gpu",
        {"instance_type": "local-gpu-2", "annotations": {"kaito.sh/runtime": "llamacpp"}},
        "local",
        id="llama.cpp on a node with GPUs",
    ),
    pytest.param(
        "workload-llamacpp-adapters",
        {
            "annotations": {"kaito.sh/runtime": "llamacpp"},
            "instance_type": "local-cpu-2",
            "inference": {"adapters": ADAPTERS},
        },
        "local",
        id="llama.cpp with adapters",
    ),
    pytest.param(
        "workload-transformers",
        {
            "annotations": {"kaito.sh/runtime": "transformers"},
            "inference": {
                "config": "bits",
                "adapters": ADAPTERS[1:],
                "preset": {
                    "name": "small-1b",
                    "presetOptions": {"image": "registry.example/own:7"},
                },
            },
        },
        "local",
        id="transformers, with weights in four bits",
    ),
    pytest.param(
        "workload-tgi",
        {
            "instance_type": "local-gpu-2",
            "annotations": {"kaito.sh/runtime": "tgi"},
            "inference": {"config": "batch", "adapters": ADAPTERS[1:]},
        },
        "local",
        id="TGI, with adapters and an option of the user's",
    ),
    pytest.param(
        "workload-own-image",
        {
            "inference": {
                "preset": {
                    "name": "small-1b",
                    "presetOptions": {
                        "image": "registry.example/own/vllm:7",
                        "imagePullSecrets": ["own-registry"],
                    },
                }
            },
        },
        "local",
        id="an image of the user's own",
    ),
    pytest.param(
        "workload-mig",
        {
            "resource": {
                "labelSelector": {"matchLabels": {"apps": "llm"}},
                "partition": {"mode": "mig", "profile": "1g.10gb"},
            }
        },
        "byo",
        id="vLLM on a slice of a GPU",
    ),
    pytest.param(
        "workload-template",
        {"inference": {"preset": None, "template": TEMPLATE}},
        "local",
        id="a pod of the user's own",
    ),
]


CONFIGS = {
    "options": a_config(),
    "bits": a_config("transformers:\n  load_in_4bit: true\n", name="bits"),
    "batch": a_config("tgi:\n  max_batch_size: 8\n", name="batch"),
}


def manifests(name: str, given: dict, cloud: str) -> list[Manifest]:
    """What the plan makes: claims while there are none, the workload once there are nodes."""
    workspace = a_workspace(**given)
    if name.startswith("claim"):
        return list(make_plan(workspace, a_world(), settings(cloud=cloud)).create)
    config = CONFIGS.get(workspace.inference.config) if workspace.inference else None
    if cloud == "byo":
        node = a_sliced_node()
        chosen = settings(byo=True, gates={"enableMIG": True})
        return list(make_plan(workspace, a_world(nodes=(node,), config=config), chosen).apply)
    nodes = make_plan(workspace, a_world(config=config), settings()).target_node_count or 0
    names = [claim_name(UID, ordinal, 1) for ordinal in range(nodes)]
    type_ = given.get("instance_type", "local-gpu-1")
    seen = a_world(
        claims=tuple(
            a_claim(each, ordinal=at, node=f"node-{at}", ready=True)
            for at, each in enumerate(names)
        ),
        nodes=tuple(a_node(f"node-{at}", instance_type=type_, gpus=2) for at in range(nodes)),
        config=config,
    )
    return list(make_plan(workspace, seen, settings()).apply)


def a_sliced_node() -> Node:
    node = a_gpu_node(product="NVIDIA-A100-SXM4-80GB")
    offered = {**node.status.allocatable, "nvidia.com/mig-1g.10gb": "7"}
    status = msgspec.structs.replace(node.status, allocatable=offered)
    return msgspec.structs.replace(node, status=status)


def without_hash(made: list[Manifest]) -> list[Manifest]:
    """The hash of what was applied is over all that the file shows."""
    for manifest in made:
        manifest["metadata"].get("annotations", {}).pop("kaito.sh/applied-hash", None)
        if not manifest["metadata"].get("annotations", True):
            del manifest["metadata"]["annotations"]
    return made


@pytest.mark.parametrize(("name", "given", "cloud"), CASES)
def test_manifests_are_as_the_golden_file_shows_them(name, given, cloud):
    expected = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    assert without_hash(manifests(name, given, cloud)) == expected


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
    served = Served(CATALOG.get("small-1b"), ONE_GPU, Source(kind="hub", location="a/b"))
    found = options(Workspace.model_validate(manifest), served)
    assert found.served_model_name == "chat"


@pytest.mark.parametrize(
    ("gpus", "memory_gib", "mib"),
    [
        pytest.param(0, 16.0, 2048, id="no GPU"),
        pytest.param(8, 900.0, 18432, id="eight GPUs"),
        pytest.param(8, 0.0, 18432, id="RAM not known"),
        pytest.param(4, 16.0, 8192, id="half of the RAM at most"),
    ],
)
def test_shared_memory_grows_with_the_gpus(gpus, memory_gib, mib):
    shape = NodeShape("any", GPU(gpus, "NVIDIA A10", 24.0 * gpus), memory_gib=memory_gib)
    sizing = Sizing(Need(shape, 1, 100), served=None)
    assert containers.shared_memory_mib(sizing.need.shape, ONE_GPU) == mib


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp", "local"])
def test_what_pods_request_leaves_room_for_the_nodes_own(cloud):
    """A request that no node can meet would leave the pod pending for ever."""
    for name, type_ in cloudproviders.instance_types(cloud).items():
        if not type_.gpu.count:
            continue
        for engine in ENGINES:
            try:
                fit = estimate.fit(
                    CATALOG.get("small-1b"),
                    type_.gpu,
                    memory_gib=type_.memory_gib,
                    cpus=type_.cpus,
                    engine=engine,
                )
            except estimate.DoesNotFitError:
                continue
            assert fit.cpu <= 0.8 * type_.cpus, name
            assert fit.memory_gib <= 0.8 * type_.memory_gib, name


@pytest.mark.parametrize("seconds", [1800, 1801, 10800])
def test_a_start_may_take_as_long_as_it_was_given(seconds):
    probe = probes.startup(seconds)
    assert probe["periodSeconds"] * probe["failureThreshold"] >= seconds
    assert probe["periodSeconds"] * (probe["failureThreshold"] - 1) < seconds


def test_where_any_node_will_do_there_is_no_affinity():
    assert scheduling.node_affinity(scheduling.Reach()) is None


def test_names_of_adapters_become_labels():
    source = {"name": f"legal.v1.{'x' * 80}", "image": "a:1", "imagePullSecrets": ["hub.pull"]}
    given = AdapterSpec.model_validate({"source": source})
    found = adapters.adapters([given, AdapterSpec()], Bringer("serving:1"), copied=True)
    names = [each["name"] for each in (*found.volumes, *found.init_containers)]
    assert len(names) == 3
    assert all(len(name) <= 63 and "." not in name for name in names)


def test_strengths_are_told_by_the_adapters_names():
    given = AdapterSpec.model_validate({"source": {"name": "legal"}, "strength": "0.5"})
    assert adapters.strengths([given, AdapterSpec()]) == [{"name": "legal", "value": "0.5"}]


def write() -> None:
    """`python -m tests.unit.workspace_controller.test_manifests` writes the golden files; what
    changed in them is then to be read, line by line."""
    for case in CASES:
        name, given, cloud = case.values
        made = without_hash(manifests(name, given, cloud))
        with (GOLDEN / f"{name}.yaml").open("w") as file:
            yaml.dump_all(made, file, _Readable, sort_keys=False, width=1000)


class _Readable(yaml.SafeDumper):
    """Scripts as blocks, and nothing by reference."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)

if __name__ == "__main__":
    write()
