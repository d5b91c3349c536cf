"""The pod that brings an adapter into a running pod, against files that show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml

from apis import container
from apis.kaito.v1beta1.workspace import AdapterSpec, Workspace
from kube.meta import Manifest
from kube.objects import Pod
from presets.fits import Fit
from tests.builders import SMALL, a_pod, a_workspace, settings
from workspace_controller.manifests import adapters, loader
from workspace_controller.manifests.adapters import Bringer
from workspace_controller.manifests.loader import Errand

GOLDEN = Path(__file__).parents[2] / "golden" / "workspace"
BRINGER = Bringer(
    "registry.example/kaito/kaito-serving-vllm:0.1.0",
    "hub-token",
    "https://hub.example",
    insecure_registries="plain.example:5000",
)
IMAGE = {
    "name": "legal.v1",
    "image": "registry.example/legal:1",
    "imagePullSecrets": ["pull.secret"],
}
SOURCES = {
    "loader-image": {"source": IMAGE},
    "loader-volume": {
        "source": {"name": "style", "volumeSource": {"persistentVolumeClaim": {"claimName": "s"}}},
        "strength": "0.5",
    },
    "loader-huggingface": {"source": {"name": "chat", "huggingFace": "owner/repo@0123abc"}},
    "loader-removal": None,
}


def serving(address: str = "10.244.1.7") -> Pod:
    pod = a_pod(node="node-0", ready=True, phase="Running")
    return msgspec.structs.replace(
        pod,
        metadata=msgspec.structs.replace(pod.metadata, uid="uid-0"),
        status=msgspec.structs.replace(pod.status, pod_ip=address),
    )


def errand(given: Manifest | None, **more: object) -> Errand:
    if given is None:
        return Errand(serving(), "legal")
    spec = AdapterSpec.model_validate(given)
    return Errand(serving(), given["source"]["name"], "0a1b2c3d", spec)


def made(given: Manifest | None) -> Manifest:
    return loader.loader(a_workspace(), errand(given), BRINGER, settings())


@pytest.mark.parametrize("name", SOURCES)
def test_loaders_are_as_the_golden_file_shows_them(name: str):
    assert made(SOURCES[name]) == yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", SOURCES)
def test_nobody_takes_a_loader_for_a_serving_pod(name: str):
    labels = made(SOURCES[name])["metadata"]["labels"]
    assert "kaito.sh/workspace" not in labels
    assert labels == {"kaito.sh/workspace-loader": "falcon"}


def test_the_name_is_that_of_the_errand():
    workspace, first = a_workspace(), errand(SOURCES["loader-image"])
    assert loader.name(workspace, first) == loader.name(workspace, first)
    others = (
        msgspec.structs.replace(first.pod.metadata, uid="uid-1"),
        first.pod.metadata,
    )
    pods = [msgspec.structs.replace(first.pod, metadata=meta) for meta in others]
    names = {
        loader.name(workspace, Errand(pods[0], "legal.v1", "0a1b2c3d")),
        loader.name(workspace, Errand(pods[1], "legal.v1", "0a1b2c3d")),
        loader.name(workspace, Errand(pods[1], "legal.v1", "0a1b2c3e")),
        loader.name(workspace, Errand(pods[1], "legal.v2", "0a1b2c3d")),
        loader.name(workspace, Errand(pods[1], "legal.v1", "0a1b2c3d", attempt=2)),
        loader.name(workspace, Errand(serving("10.244.1.8"), "legal.v1", "0a1b2c3d")),
    }
    assert len(names) == 6


def test_an_address_of_ipv6_is_one_in_a_url():
    pod = loader.loader(a_workspace(), Errand(serving("fd00::7"), "legal"), BRINGER, settings())
    assert pod["spec"]["containers"][0]["args"][0] == "--url=http://[fd00::7]:5000"


def test_the_directory_is_the_same_for_who_brings_and_who_loads():
    spec = made(SOURCES["loader-volume"])["spec"]
    variables = [
        {variable["name"]: variable.get("value") for variable in each["env"]}
        for each in (spec["initContainers"][0], spec["containers"][0])
    ]
    assert variables[0][container.ENV_ADAPTER_DIR] == variables[1][container.ENV_ADAPTER_DIR]


# --- what belongs to adapters in a pod ----------------------------------------------------------


def workspace(*given: Manifest, **more: object) -> Workspace:
    return a_workspace(inference={"adapters": list(given)}, **more)


@pytest.mark.parametrize("name", ["loader-image", "loader-volume", "loader-huggingface"])
def test_all_that_comes_with_an_adapter_is_hot(name: str):
    specs = adapters.of(workspace(SOURCES[name]))
    found = adapters.adapters(specs, BRINGER, copied=True, hot=True)
    named = (*found.volumes, *found.init_containers, *found.mounts)
    assert named
    assert all(adapters.is_hot(each["name"]) for each in named)


def test_other_parts_are_not_hot():
    names = ("dshm", "model-weights-volume", "config-volume", "adapters-token", "weights")
    assert not any(map(adapters.is_hot, names))
    assert not adapters.is_hot(adapters.token(workspace()).volumes[0]["name"])


def test_names_that_differ_in_a_dot_make_volumes_that_differ():
    given = [{"source": {**IMAGE, "name": name}} for name in ("a.b", "a-b")]
    found = adapters.adapters(adapters.of(workspace(*given)), BRINGER, copied=True)
    names = [each["name"] for each in found.init_containers]
    assert len(set(names)) == 2


def test_the_hash_changes_with_all_that_changes_the_adapter():
    versions = [
        {"source": IMAGE},
        {"source": {**IMAGE, "image": "registry.example/legal:2"}},
        {"source": IMAGE, "strength": "0.5"},
        {"source": {"name": "legal.v1", "huggingFace": "owner/repo"}},
    ]
    assert len({adapters.hashes(workspace(each))["legal.v1"] for each in versions}) == 4


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_an_annotation_that_says_nothing_is_as_good_as_none(text: str):
    assert adapters.read({"kaito.sh/adapters": text}) is None
    assert adapters.read({}) is None


@pytest.mark.parametrize(
    ("fields", "asked", "given", "hot"),
    [
        pytest.param({}, "", [], True, id="one model, one node"),
        pytest.param({"lora": False}, "true", [], False, id="an architecture without adapters"),
        pytest.param({"moe": True}, "", [], False, id="experts need much room"),
        pytest.param({"moe": True}, "true", [], True, id="experts, asked for"),
        pytest.param({"moe": True}, "", [SOURCES["loader-image"]], True, id="experts with one"),
        pytest.param({}, "false", [SOURCES["loader-image"]], False, id="opted out"),
    ],
)
def test_when_adapters_are_taken_at_run_time(
    fields: Manifest, asked: str, given: list[Manifest], hot: bool
):
    model = msgspec.structs.replace(SMALL, **fields)
    annotated = workspace(*given, annotations={"kaito.sh/runtime-adapters": asked})
    fit = Fit(nodes=1, gpus_per_node=1)
    assert adapters.taken_at_run_time(annotated, model, fit) is hot
    assert not adapters.taken_at_run_time(annotated, model, replace(fit, nodes=2))
    assert not adapters.taken_at_run_time(annotated, model, replace(fit, engine="llamacpp"))


def test_an_image_of_the_users_own_takes_none():
    preset = {"name": "small-1b", "presetOptions": {"image": "registry.example/mine:1"}}
    own = a_workspace(inference={"preset": preset})
    assert not adapters.taken_at_run_time(own, SMALL, Fit(nodes=1, gpus_per_node=1))
