"""Where weights come from: what is asked for, what the cluster can give, and the pod of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest
import yaml

from apis.gpu import GPU
from kube.meta import Manifest
from kube.objects import NodeSystemInfo
from presets.fits import Engine, Fit
from tests.builders import (
    CATALOG,
    UID,
    a_claim,
    a_node,
    a_stateful_set,
    a_workspace,
    a_world,
    settings,
)
from workspace_controller.manifests.statefulset import inference_statefulset
from workspace_controller.nodes.attempts import claim_name
from workspace_controller.nodes.provisioner import NodeShape
from workspace_controller.settings import WeightsSettings
from workspace_controller.workspace import inference, sizing
from workspace_controller.workspace import weights as weight_sources
from workspace_controller.workspace.plan import make_plan
from workspace_controller.workspace.sizing import Sizing

GOLDEN = Path(__file__).parents[2] / "golden" / "workspace"
COMMIT = "89ab" * 10
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
IMAGE = f"oci://registry.example/models/small:v1@{DIGEST}"
SECRET = {"modelAccessSecret": "hub-token"}
ENFORCE = "pod-security.kubernetes.io/enforce"
MODEL_WEIGHTS = "kaito.sh/model-weights"
ABLE = ("v1.35.2", "containerd://2.1.4")
CPU = {"instance_type": "local-cpu-2"}


def weights(**given) -> WeightsSettings:
    return WeightsSettings(**given)


def world(runtime: tuple[str, str] = ("", ""), type_: str = "local-gpu-1", **seen):
    """One ready node, with that kubelet and that container runtime."""
    node = a_node("node-0", instance_type=type_)
    status = msgspec.structs.replace(node.status, node_info=NodeSystemInfo(*runtime))
    name = claim_name(UID, 0, 1)
    return a_world(
        claims=(a_claim(name, node="node-0", ready=True),),
        nodes=(msgspec.structs.replace(node, status=status),),
        **seen,
    )


def sized(workspace, seen=None, *, nvme=False, **offered) -> tuple[Sizing, object]:
    chosen = dataclasses.replace(settings(), weights=weights(**offered))
    if nvme:
        chosen = dataclasses.replace(chosen, nodes=_WithNvme(chosen.nodes))
    found = sizing.size(workspace, seen or world(), chosen)
    assert found is not None
    return found, chosen


class _WithNvme:
    """Nodes as another provisioner's, but with NVMe disks."""

    def __init__(self, nodes) -> None:
        self._nodes = nodes

    def __getattr__(self, name):
        return getattr(self._nodes, name)

    def shape(self, workspace, seen):
        found = self._nodes.shape(workspace, seen)
        return dataclasses.replace(found, nvme=True)


def source(given=None, seen=None, **offered):
    found, _ = sized(a_workspace(**(given or {})), seen, **offered)
    assert found.served is not None
    return found.served.source


def asking(url: str, **more) -> dict:
    return {"annotations": {MODEL_WEIGHTS: url}, **more}


def stateful_set(given: dict, seen=None, live=None, **offered) -> Manifest:
    workspace = a_workspace(**given)
    found, chosen = sized(workspace, seen, **offered)
    return inference_statefulset(workspace, found, chosen, live)


def shown(manifest: Manifest) -> Manifest:
    """What of a StatefulSet concerns weights."""
    pod = manifest["spec"]["template"]["spec"]
    engine = pod["containers"][0]
    found = {
        "volumeClaimTemplates": manifest["spec"].get("volumeClaimTemplates"),
        "imagePullSecrets": pod.get("imagePullSecrets"),
        "volumes": [each for each in pod["volumes"] if "weights" in each["name"]],
        "initContainers": pod.get("initContainers"),
        "engine": {
            "args": [arg for arg in engine["args"] if arg.startswith("--model")],
            "env": [each for each in engine["env"] if each["name"].startswith("HF_")],
            "volumeMounts": [each for each in engine["volumeMounts"] if "weights" in each["name"]],
        },
    }
    return {key: value for key, value in found.items() if value}


GATED = {"inference": {"preset": {"name": "gated-1b", "presetOptions": SECRET}}}
PULL = {"kaito.sh/model-weights-pull-secrets": "registry, mirror"}
PINNED = asking(f"hf://example/fine@{COMMIT}")

CASES = [
    pytest.param("weights-node", GATED, {}, id="Hugging Face, once a node"),
    pytest.param("weights-pod", PINNED, {"cache": "pod"}, id="a commit, with the pod"),
    pytest.param("weights-nvme", {}, {"cache": "nvme", "nvme": True}, id="on an NVMe disk"),
    pytest.param(
        "weights-gguf",
        CPU,
        {"seen": world(type_="local-cpu-2"), "endpoint": "https://hub.example"},
        id="one GGUF from a mirror",
    ),
    pytest.param(
        "weights-image",
        {"annotations": {MODEL_WEIGHTS: f"{IMAGE}/models", **PULL}},
        {"image_volumes": "true"},
        id="an image volume",
    ),
    pytest.param(
        "weights-registry",
        {"annotations": {MODEL_WEIGHTS: f"{IMAGE}/models", **PULL}},
        {"image_volumes": "false"},
        id="an artifact, downloaded",
    ),
    pytest.param("weights-claim", asking("pvc://models/llama/8b"), {}, id="the user's own claim"),
    pytest.param("weights-local", asking("node://"), {}, id="the node's own"),
]


@pytest.mark.parametrize(("name", "given", "offered"), CASES)
def test_a_pod_gets_its_weights_as_the_golden_file_shows(name, given, offered):
    expected = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())
    assert shown(stateful_set(given, **offered)) == expected


@pytest.mark.parametrize(
    ("given", "offered", "revision", "words"),
    [
        ({}, {}, "", "Hugging Face example/Small-1B, downloaded once a node"),
        (PINNED, {"cache": "pod"}, COMMIT, "Hugging Face example/fine, downloaded by each pod"),
        (
            {},
            {"cache": "nvme", "nvme": True},
            "",
            "Hugging Face example/Small-1B, downloaded to an NVMe disk",
        ),
        (asking(IMAGE), {"image_volumes": "true"}, DIGEST, f"image volume {IMAGE[6:]}"),
        (asking(IMAGE), {}, DIGEST, f"OCI artifact {IMAGE[6:]}, downloaded once a node"),
        (asking("pvc://m/a"), {}, "", "PersistentVolumeClaim m/a, read-only"),
        (asking("node://"), {}, "", "directory /opt/kaito/models/small-1b of the node"),
    ],
)
def test_the_status_says_where_they_come_from(given, offered, revision, words):
    found, chosen = sized(a_workspace(**given), **offered)
    plan = inference.inference(a_workspace(**given), world(), chosen)
    assert (plan.status["serving"].weights, plan.status["serving"].revision) == (words, revision)
    assert found.served is not None


def test_the_commit_of_the_preset_is_the_one_that_is_served():
    model = msgspec.structs.replace(CATALOG.get("small-1b"), revision=COMMIT)
    chosen = dataclasses.replace(settings(), catalog=type(CATALOG)([model]))
    found = sizing.size(a_workspace(), world(), chosen)
    assert found is not None
    assert found.served is not None
    assert found.served.source.revision == COMMIT
    assert found.served.source.directory == f"/workspace/weights/snapshots/{COMMIT}"


@pytest.mark.parametrize(
    ("setting", "runtime", "kind"),
    [
        pytest.param("auto", ABLE, "image", id="all can"),
        pytest.param("auto", ("v1.36.0", "cri-o://1.36.1"), "image", id="cri-o"),
        pytest.param("auto", ("v1.34.9", "containerd://2.1.4"), "registry", id="old kubelet"),
        pytest.param("auto", ("v1.35.2", "containerd://1.7.29"), "registry", id="old runtime"),
        pytest.param("auto", ("v1.35.2", "docker://29.1"), "registry", id="unknown runtime"),
        pytest.param("auto", ("", ""), "registry", id="a node that tells nothing"),
        pytest.param("false", ABLE, "registry", id="switched off"),
        pytest.param("true", ("v1.33.0", "containerd://1.7.0"), "image", id="switched on"),
    ],
)
def test_images_are_mounted_where_the_nodes_can(setting, runtime, kind):
    assert source(asking(IMAGE), world(runtime), image_volumes=setting).kind == kind


@pytest.mark.parametrize(
    ("asked", "enforced", "nvme", "cache"),
    [
        ("node", "", False, "node"),
        ("node", "privileged", False, "node"),
        ("node", "baseline", False, "pod"),
        ("node", "restricted", False, "pod"),
        ("pod", "", True, "pod"),
        ("nvme", "baseline", True, "nvme"),
        ("nvme", "restricted", True, "pod"),
        ("nvme", "", False, "node"),
        ("nvme", "baseline", False, "pod"),
    ],
)
def test_downloads_are_kept_where_the_namespace_lets_them(asked, enforced, nvme, cache):
    seen = world(namespace_labels={ENFORCE: enforced} if enforced else {})
    assert source(seen=seen, cache=asked, nvme=nvme).cache == cache


def test_a_workload_with_claims_keeps_them_and_one_without_gets_none():
    template = {"metadata": {"name": "model-weights-volume"}, "spec": {}}
    having = a_stateful_set(volumeClaimTemplates=[template])
    assert source(seen=world(stateful_set=having)).cache == "nvme"
    without = world(stateful_set=a_stateful_set())
    assert source(seen=without, cache="nvme", nvme=True).cache == "node"


@pytest.mark.parametrize(
    "url",
    [IMAGE, "pvc://models", "node://", f"hf://example/fine@{COMMIT}"],
    ids=lambda url: url[:6],
)
def test_another_source_is_another_pod(url):
    """So the pods roll, as after any edit of the template."""
    before = stateful_set({})["spec"]["template"]
    assert stateful_set(asking(url))["spec"]["template"] != before


def test_a_claim_of_the_users_own_is_never_written_to():
    pod = stateful_set(asking("pvc://models"))["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "model-weights"]
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    assert "initContainers" not in pod


def test_the_engine_cannot_write_to_what_others_share():
    for offered in ({}, {"cache": "pod"}, {"cache": "nvme", "nvme": True}):
        engine = stateful_set({}, **offered)["spec"]["template"]["spec"]["containers"][0]
        (mount,) = [each for each in engine["volumeMounts"] if "weights" in each["name"]]
        assert mount["readOnly"] is True


def test_the_token_is_for_the_download_alone():
    pod = stateful_set(GATED)["spec"]["template"]["spec"]
    (init,) = pod["initContainers"]
    assert [each["name"] for each in init["env"]] == ["HF_TOKEN"]
    assert "HF_TOKEN" not in [each["name"] for each in pod["containers"][0]["env"]]


def test_new_nodes_need_no_disk_for_weights_that_lie_on_a_claim():
    disks = [sized(a_workspace(**asking(url)))[0].need.disk_gib for url in ("pvc://m", IMAGE)]
    assert disks == [80, 82]


def test_instance_types_tell_whether_they_have_nvme():
    shape = settings(cloud="aws").nodes.shape(a_workspace(instance_type="g5.xlarge"), a_world())
    assert isinstance(shape, NodeShape)
    assert shape.nvme
    assert not NodeShape("", GPU(count=0, model="", memory_gib=0)).nvme


@pytest.mark.parametrize("url", ["oci://registry.example/small:v1", "s3://bucket", "pvc://"])
def test_what_admission_let_pass_is_said_in_the_status(url):
    plan = make_plan(a_workspace(**asking(url)), world(), settings())
    assert plan.blocked is not None
    assert plan.blocked.reason == "InvalidWeights"
    assert plan.blocked.message.startswith(f'metadata.annotations[{MODEL_WEIGHTS}]: "{url}" ')


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        pytest.param(
            {},
            "model.gguf of Hugging Face example/Small-1B, downloaded once a node",
            id="downloaded",
        ),
        pytest.param(
            {MODEL_WEIGHTS: "pvc://mine/llm"},
            "model.gguf of PersistentVolumeClaim mine/llm, read-only",
            id="claim",
        ),
    ],
)
def test_a_gguf_file_that_is_served_is_named(annotations, said):
    """Nobody asked for it: the repository has it beside the weights that GPUs are served with."""
    workspace = a_workspace(annotations=annotations, **CPU)
    plan = make_plan(workspace, world(type_="local-cpu-2"), settings())
    assert plan.status["serving"].engine == "llamacpp"
    assert plan.status["serving"].weights == said


def test_a_gguf_file_that_is_not_served_is_not_named():
    plan = make_plan(a_workspace(), world(), settings())
    assert plan.status["serving"].engine == "vllm"
    assert "gguf" not in plan.status["serving"].weights


@pytest.mark.parametrize(
    ("runtime", "load_format"), [("vllm", "mistral"), ("transformers", ""), ("tgi", "")]
)
def test_files_come_in_the_format_that_the_engine_loads(runtime: Engine, load_format: str):
    model = msgspec.structs.replace(CATALOG.get("small-1b"), load_format="mistral")
    fit = Fit(nodes=1, gpus_per_node=1, engine=runtime)
    given = a_workspace()
    found = weight_sources.source(given, model, fit, world(), settings(), nvme=False)
    assert found.load_format == load_format
