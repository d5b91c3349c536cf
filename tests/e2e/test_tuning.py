"""Tune, evaluate, serve: Gemma 3 270M learns a habit of speech on a Workspace, and answers with it
on another one.

All is real but the outside: the API server, kubelets, the trainer, the engine. A registry and a
server of files of the test's own stand on the cluster's bridge, under names of the cluster's DNS.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from apis import reports
from apis.reports import Training
from kaito.__main__ import main as kaito_main
from localcluster import demo
from localcluster.cluster import Cluster, Settings
from localcluster.commands import CommandError
from localcluster.images import by_reference
from localcluster.recipes import REGISTRY, TAG
from localcluster.stages import Stages, Tools
from tests import tuning_data
from tests.e2e.seen import get, serves, until
from tests.fakes.downloads import Files
from tests.fakes.registry import Registry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

IMAGES = [
    "kaito-controllers",
    "kaito-tuning",
    "kaito-serving-llamacpp",
    "kaito-serving-transformers",
    "kaito-serving-vllm",
]
PRESET = "gemma-3-270m"
USER, PASSWORD = "trainer", "a-password-for-the-test"
ROWS = 96
UNSEEN = tuning_data.rows(ROWS + 1)[-1]["prompt"]
HELD_OUT = 0.125
STEPS = 24
CONFIG = f"""\
training_config:
  ModelConfig:
    torch_dtype: float32
  LoraConfig:
    r: 8
    lora_alpha: 16
    target_modules: all-linear
  TrainingArguments:
    output_dir: /mnt/results
    max_steps: {STEPS}
    per_device_train_batch_size: 4
    learning_rate: 1.0e-3
    max_length: 64
    gradient_checkpointing: false
    save_strategy: steps
    save_steps: 6
    seed: 1
  DatasetConfig:
    shuffle_dataset: true
    train_test_split: {1 - HELD_OUT}
"""


class World:
    """The cluster with both charts, and what stands outside of it."""

    def __init__(self, cluster: Cluster, tools: Tools, registry: Registry, data: str) -> None:
        self.cluster = cluster
        self.kubectl: Callable[..., str] = cluster.kubectl
        self.tools = tools
        self.registry = registry
        self.data = data

    def apply(self, *manifests: dict[str, Any]) -> None:
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.tools.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def status(self, name: str) -> dict[str, Any]:
        return dict(get(self.kubectl, "workspace", name).get("status", {}))

    def claims(self, name: str) -> list[str]:
        found = get(self.kubectl, "nodeclaims", "-l", f"kaito.sh/workspace={name}")
        return [each["metadata"]["name"] for each in found.get("items", [])]

    def explain(self, name: str) -> None:
        kaito_main(["explain", name, f"--kubeconfig={self.cluster.state.kubeconfig}"])

    def wait(self, name: str, look: Callable[[], Any], seconds: float) -> Any:
        """As `until`, with the whole chain in the output where it is in vain."""
        try:
            return until(look, seconds)
        except AssertionError:
            self.explain(name)
            print(self.kubectl("get", "pods", "-o", "wide"))
            print(self.kubectl("logs", f"job/{name}", "--all-containers", "--tail=50"))
            raise


@pytest.fixture(scope="module")
def world(cluster: Cluster, settings: Settings) -> Iterator[World]:
    archives = by_reference(cluster.build(IMAGES, TAG))
    cluster.models(huggingface=True)
    cluster.up(archives)
    tools = Tools(settings.binaries, cluster.state.kubeconfig)
    gateway = settings.network.gateway
    registry = Registry("tuned/habit", user=USER, password=PASSWORD)
    files = Files({"/habit.jsonl": tuning_data.jsonl(ROWS)})
    with ExitStack() as stack:
        stack.enter_context(registry.running(gateway))
        stack.enter_context(files.running(gateway))
        registry.known_as = outside(tools, "registry", gateway, registry.port)
        data = outside(tools, "files", gateway, files.port)
        build = archives[f"{REGISTRY}/kaito-controllers:{TAG}"][0]
        demo.install(tools, Stages(), cluster, build, {"insecureRegistries": registry.known_as})
        world = World(cluster, tools, registry, f"http://{data}/habit.jsonl")
        world.apply(config(), credentials(registry.known_as))
        yield world
        tools.kubectl("delete", "workspaces", "--all", "--timeout=180s")
        assert get(cluster.kubectl, "nodeclaims").get("items", []) == []


def outside(tools: Tools, name: str, address: str, port: int) -> str:
    """A server outside of the cluster under a name of its DNS: host:port."""
    ports = [{"name": "http", "port": port}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "None", "ports": ports},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [address]}],
    }
    document = {"apiVersion": "v1", "kind": "List", "items": [service, endpoints]}
    tools.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    return f"{name}.default.svc.cluster.local:{port}"


def config() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "habit", "namespace": "default"},
        "data": {"training_config.yaml": CONFIG},
    }


def credentials(host: str) -> dict[str, Any]:
    auths = {host: {"username": USER, "password": PASSWORD}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "push", "namespace": "default"},
        "stringData": {".dockerconfigjson": json.dumps({"auths": auths})},
    }


def workspace(name: str, instance_type: str, runtime: str = "", **work: Any) -> dict[str, Any]:
    annotations = {"kaito.sh/use-local-weights": "true"}
    if runtime:
        annotations["kaito.sh/runtime"] = runtime
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "resource": {
            "instanceType": instance_type,
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        **work,
    }


def test_a_killed_training_goes_on_where_it_was_and_learns(world: World) -> None:
    name = "tune"
    tuning = {
        "preset": {"name": PRESET},
        "method": "lora",
        "config": "habit",
        "input": {"urls": [world.data]},
        "output": {
            "image": f"{world.registry.known_as}/{world.registry.name}:v1",
            "imagePushSecret": "push",
        },
    }
    world.apply(workspace(name, "local-cpu-4", tuning=tuning))

    def at_work() -> dict[str, Any] | None:
        told = world.status(name).get("tuning") or {}
        return told if told.get("checkpointStep", 0) > 0 and told["step"] < STEPS else None

    seen = world.wait(name, at_work, 420)
    assert seen["steps"] == STEPS
    assert world.status(name)["state"] == "Running"
    (pod,) = pods(world, name)
    world.kubectl("delete", "pod", pod, "--force", "--grace-period=0")

    went_on_from = world.wait(name, lambda: first_step(world, name), 300)
    assert went_on_from >= seen["checkpointStep"]

    world.wait(name, lambda: world.status(name).get("state") == "Succeeded", 600)
    status = world.status(name)
    told = status["tuning"]
    assert (told["step"], told["steps"], told["attempts"]) == (STEPS, STEPS, 2)
    assert float(told["evalLoss"]) <= float(told["evalLossBefore"]) / 2
    assert told["output"].startswith(f"{world.registry.known_as}/{world.registry.name}")
    assert "@sha256:" in told["output"]
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert (conditions["JobStarted"], conditions["WorkspaceSucceeded"]) == ("True", "True")


def test_the_node_is_given_back_when_the_work_is_done(world: World) -> None:
    world.wait("tune", lambda: not world.claims("tune"), 120)
    assert world.status("tune")["state"] == "Succeeded"


def test_the_adapter_is_served_and_answers_as_trained(world: World) -> None:
    """First without it, then hot: the pod that serves is the same one."""
    name = "serve"
    world.apply(workspace(name, "local-cpu-4", "vllm", inference={"preset": {"name": PRESET}}))
    world.wait(name, lambda: serves(world.kubectl, name), 420)
    before = get(world.kubectl, "pod", f"{name}-0")["metadata"]["uid"]
    assert tuning_data.MOTTO not in answer(world, name, PRESET, UNSEEN)

    patch = {"inference": {"adapters": [adapter(world)]}}
    world.kubectl("patch", "workspace", name, "--type=merge", "-p", json.dumps(patch))

    def states() -> list[str]:
        return [each["state"] for each in world.status(name).get("adapters", [])]

    world.wait(name, lambda: states() == ["Ready"], 240)
    assert tuning_data.MOTTO in answer(world, name, "habit", UNSEEN)
    assert tuning_data.MOTTO not in answer(world, name, PRESET, UNSEEN)
    assert get(world.kubectl, "pod", f"{name}-0")["metadata"]["uid"] == before


@pytest.mark.parametrize("runtime", ["llamacpp", "transformers"])
def test_other_engines_serve_the_same_adapter(world: World, runtime: str) -> None:
    """One contract: the image that the tuning pushed, chosen by a request's `model`."""
    world.kubectl("delete", "workspace", "serve", "--ignore-not-found", "--timeout=180s")
    inference = {"preset": {"name": PRESET}, "adapters": [adapter(world)]}
    world.apply(workspace(runtime, "local-cpu-4", runtime, inference=inference))
    world.wait(runtime, lambda: serves(world.kubectl, runtime), 300)
    assert tuning_data.MOTTO in answer(world, runtime, "habit", UNSEEN)
    assert tuning_data.MOTTO not in answer(world, runtime, PRESET, UNSEEN)
    world.kubectl("delete", "workspace", runtime, "--timeout=180s")


def first_step(world: World, name: str) -> int:
    """The first one that the pod at work has done; 0 while it has done none."""
    try:
        lines = world.kubectl("logs", *pods(world, name), "--tail=-1").splitlines()
    except CommandError:
        return 0  # it is not there yet, or still fetches
    assert not any(PASSWORD in line for line in lines)
    told = [found for line in lines if (found := reports.parse(Training, line))]
    return next((each.step for each in told if each.loss is not None), 0)


def adapter(world: World) -> dict[str, Any]:
    output = world.status("tune")["tuning"]["output"]
    return {"source": {"name": "habit", "image": output, "imagePullSecrets": ["push"]}}


def pods(world: World, name: str) -> list[str]:
    """Those of the Job that are not on their way out."""
    found = get(world.kubectl, "pods", "-l", f"kaito.sh/workspace={name}").get("items", [])
    alive = [each for each in found if "deletionTimestamp" not in each["metadata"]]
    return [each["metadata"]["name"] for each in alive]


def answer(world: World, name: str, model: str, prompt: str) -> str:
    address = get(world.kubectl, "service", name)["spec"]["clusterIP"]
    body = {"model": model, "prompt": prompt, "max_tokens": 24, "temperature": 0}
    request = urllib.request.Request(
        f"http://{address}/v1/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as told:  # noqa: S310
        return str(json.load(told)["choices"][0]["text"])
