"""Presets on nodes that advertise GPUs: from `kubectl apply` to the engine's running command.

The GPUs do not exist, so a stand-in listens in the engine's place (tests/e2e/engine). All before it
is real: sizing, claims, kubelets, devices, the download of the weights (from a hub of the test's
own, on the cluster's bridge), the image's start with its command line, and for two nodes the way in
which they meet.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kaito.__main__ import main as kaito_main
from localcluster import demo
from localcluster.cluster import Cluster, Settings
from localcluster.images import Builder, by_reference
from localcluster.recipes import REGISTRY, TAG, Recipe
from localcluster.stages import Stages, Tools
from tests.e2e.seen import get, serves, until
from tests.fakes.downloads import Downloads
from tests.fakes.hub import COMMIT, sibling

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
HUB_TOKEN = "hf_" + "ForTheTest" * 4
"""In the form that real ones have; not whole here, lest scanners of sources find it."""
ENGINE = Recipe(
    "kaito-engine-stand-in",
    TAG,
    REPOSITORY / "tests/e2e/engine/Dockerfile",
    REPOSITORY,
    registry=f"{REGISTRY}/stand-in",
    image="kaito-serving-vllm",
)


@dataclass(frozen=True)
class Case:
    """A preset, the machine it is asked for, and how it must come to lie there."""

    name: str
    preset: str
    instance_type: str
    nodes: int = 1
    flags: Mapping[str, str] = field(default_factory=dict)


CASES = (
    Case("phi", "phi-4-mini-instruct", "local-gpu-1", flags={"tensor-parallel-size": "1"}),
    Case("llama", "llama-3.1-8b-instruct", "local-gpu-2", flags={"dtype": "bfloat16"}),
    Case("mistral", "mistral-7b-instruct", "local-gpu-1", flags={"config-format": "mistral"}),
    Case("falcon", "falcon-7b-instruct", "local-gpu-1", flags={"tensor-parallel-size": "1"}),
    Case(
        "two-nodes",
        "phi-4",
        "local-gpu-1",
        nodes=2,
        flags={"pipeline-parallel-size": "2", "distributed-executor-backend": "ray"},
    ),
)


class EveryModel(Downloads):
    """A hub that has whatever it is asked for, at any commit, with very small weights."""

    FILES: Mapping[str, bytes] = {
        "config.json": b"{}",
        "model.safetensors": bytes(1000),
        "consolidated.safetensors": bytes(1000),
    }

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        words = path.strip("/").split("/")
        if words[:2] == ["api", "models"]:
            listed = [sibling(*each) for each in self.FILES.items()]
            commit = COMMIT if words[-1] == "main" else words[-1]
            return 200, {}, json.dumps({"sha": commit, "siblings": listed}).encode()
        content = self.FILES.get(words[-1])
        return (404, {}, b"") if content is None else (200, {}, content)


def manifest(case: Case) -> dict[str, Any]:
    preset: dict[str, Any] = {"name": case.preset}
    if case.preset.startswith("llama"):
        preset["presetOptions"] = {"modelAccessSecret": "hub-token"}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": case.name, "namespace": "default"},
        "resource": {
            "instanceType": case.instance_type,
            "labelSelector": {"matchLabels": {"apps": case.name}},
        },
        "inference": {"preset": preset},
    }


@contextmanager
def installed(cluster: Cluster, settings: Settings) -> Iterator[tuple[Tools, Downloads]]:
    """Both charts, with a hub of the test's own in the place of Hugging Face."""
    images = cluster.build(["kaito-controllers"], TAG)
    archives = by_reference([*images, Builder(settings.cache, settings.binaries).build(ENGINE)])
    cluster.up(archives)
    tools = Tools(settings.binaries, cluster.state.kubeconfig)
    build = archives[f"{REGISTRY}/kaito-controllers:{TAG}"][0]
    with EveryModel().running(settings.network.gateway) as hub:
        values = {"huggingFaceEndpoint": hub.url, "presetRegistryName": ENGINE.registry}
        demo.install(tools, Stages(), cluster, build, values)
        yield tools, hub


@pytest.fixture(scope="module")
def hub(cluster: Cluster, settings: Settings) -> Iterator[Downloads]:
    """The charts installed, and all Workspaces applied at once."""
    with installed(cluster, settings) as (tools, hub):
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hub-token", "namespace": "default"},
            "stringData": {"HF_TOKEN": HUB_TOKEN},
        }
        everything = [secret, *(manifest(case) for case in CASES)]
        document = {"apiVersion": "v1", "kind": "List", "items": everything}
        tools.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        yield hub
        tools.kubectl("delete", "workspaces", "--all", "--timeout=180s")
        assert get(cluster.kubectl, "nodeclaims").get("items", []) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_preset_goes_from_apply_to_its_running_engine(
    cluster: Cluster, hub: Downloads, case: Case
) -> None:
    kubectl = cluster.kubectl
    try:
        until(lambda: serves(kubectl, case.name), 300)
    except AssertionError:
        kaito_main(["explain", case.name, f"--kubeconfig={cluster.state.kubeconfig}"])
        raise
    workspace = get(kubectl, "workspace", case.name)
    assert workspace["status"]["targetNodeCount"] == case.nodes
    assert workspace["status"]["progress"]["stage"] == "Ready"
    argv = _argv(kubectl, case.name)
    for flag, value in case.flags.items():
        assert f"--{flag}={value}" in argv
    pods = get(kubectl, "pods", "-l", f"kaito.sh/workspace={case.name}")["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods) == case.nodes
    for pod in pods:
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        assert limits["nvidia.com/gpu"] == case.instance_type.rpartition("-")[2]


def test_weights_are_fetched_once_for_each_node(hub: Downloads) -> None:
    """Of the pinned commit, by the init container; the engine is told to stay offline."""
    fetched = {path: n for path, n in hub.asked.items() if "/resolve/" in path}
    assert {path.split("/")[1] for path in fetched} >= {"microsoft", "meta-llama", "tiiuae"}
    assert all(len(path.split("/")[4]) == 40 for path in fetched)
    assert max(fetched.values()) <= 2  # two nodes of one Workspace


def test_the_token_goes_to_the_hub_and_into_no_manifest(cluster: Cluster, hub: Downloads) -> None:
    sent = {
        headers.get("Authorization", "")
        for path, asked in hub.headers.items()
        if "meta-llama" in path
        for headers in asked
    }
    assert sent == {f"Bearer {HUB_TOKEN}"}
    shown = cluster.kubectl("get", "workspaces,statefulsets,pods", "-o", "yaml")
    assert HUB_TOKEN not in shown


def _argv(kubectl: Callable[..., str], name: str) -> list[str]:
    """What the engine was started with, as the stand-in tells through the Service."""
    address = get(kubectl, "service", name)["spec"]["clusterIP"]
    with urllib.request.urlopen(f"http://{address}/argv", timeout=30) as answer:
        return list(json.load(answer))
