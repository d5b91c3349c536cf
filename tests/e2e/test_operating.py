"""What an operator does: `kubectl kaito`, a rolling upgrade under load, a leader that is killed,
an uninstall while nodes are in use. Both charts as they are installed by default: two replicas.

The tests of this module tell one story in order, with a real model at its beginning.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from apis.kaito.v1beta1.workspace import WORKSPACES
from kube import config
from kube.client import Client
from kube.errors import KubeError
from localcluster import demo
from localcluster.cluster import Cluster, Settings
from localcluster.images import by_reference
from localcluster.recipes import REGISTRY, TAG
from localcluster.stages import Stages, Tools
from tests.e2e.kept_logs import KeptLogs
from tests.e2e.seen import REPOSITORY, Machines, condition, get, serves, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAME = "workspace-gemma-3-270m-chat"
CHARTS = {"gpu-provisioner": "gpu-provisioner", "workspace": "kaito-workspace"}
"""Release and Deployment, and their namespace."""
LEASE = "{}-leader-election"
TAKE_OVER_SECONDS = 20.0


@pytest.fixture(scope="module")
def tools(cluster: Cluster, settings: Settings) -> Tools:
    archives = by_reference(cluster.build(["kaito-controllers", "kaito-serving-llamacpp"], TAG))
    cluster.models(huggingface=False, embedder=False)
    cluster.up(archives)
    tools = Tools(settings.binaries, cluster.state.kubeconfig)
    build = archives[f"{REGISTRY}/kaito-controllers:{TAG}"][0]
    demo.install(tools, Stages(), cluster, build)
    return tools


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, tools: Tools) -> Callable[..., str]:
    return cluster.kubectl


@pytest.fixture
def kaito(cluster: Cluster, settings: Settings) -> Callable[..., tuple[int, str]]:
    """`kubectl kaito …` as it is typed: kubectl finds the plugin on the PATH."""
    folders = (settings.binaries.path("kubectl").parent, Path(sys.executable).parent)
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.state.kubeconfig),
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
    }

    def run(*words: str, completing: bool = False) -> tuple[int, str]:
        said = subprocess.run(
            ["kubectl", *(("__complete",) if completing else ()), "kaito", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return said.returncode, said.stdout + said.stderr

    return run


def pods(kubectl: Callable[..., str], release: str) -> list[dict[str, Any]]:
    selector = f"app.kubernetes.io/name={release}"
    return list(get(kubectl, "pods", "-n", CHARTS[release], "-l", selector).get("items", []))


def leader(kubectl: Callable[..., str], release: str) -> str:
    """The pod that holds the lease; "" while nobody does."""
    lease = get(kubectl, "lease", LEASE.format(release), "-n", CHARTS[release])
    return str(lease.get("spec", {}).get("holderIdentity") or "").partition("_")[0]


def test_two_of_each_run_and_one_of_them_leads(kubectl: Callable[..., str]) -> None:
    for release in CHARTS:
        names = [each["metadata"]["name"] for each in pods(kubectl, release)]
        assert len(names) == 2
        assert leader(kubectl, release) in names


def test_the_plugin_follows_a_model_until_it_answers(
    kubectl: Callable[..., str], kaito: Callable[..., tuple[int, str]]
) -> None:
    """With the engine's real words through the API server's proxy."""
    kubectl("apply", "-f", str(REPOSITORY / f"examples/{NAME}.yaml"))
    status, said = kaito("chat", NAME, "-m", "Hello")
    assert status == 1, said
    assert f"kaito explain {NAME}" in said
    until(lambda: kaito("status", NAME)[0] == 0, 240)
    status, said = kaito("status", "-o", "json")
    (told,) = json.loads(said)
    assert (told["name"], told["ready"], told["progress"]["stage"]) == (NAME, True, "Ready")
    assert kaito("get-endpoint", NAME)[1].strip().endswith(f"/services/{NAME}:80/proxy")

    brief = ("--temperature", "0", "--max-tokens", "24")
    status, said = kaito("chat", NAME, *brief, "-m", "Who are you?")
    assert status == 0, said
    assert len(said.split()) > 3, said


def test_kubectl_completes_the_plugins_words(kaito: Callable[..., tuple[int, str]]) -> None:
    assert f"{NAME}\n" in kaito("explain", "work", completing=True)[1]
    assert "phi-4-mini-instruct\n" in kaito("models", "describe", "phi-4", completing=True)[1]


class Load:
    """Admission is asked all along, by dry runs of a Workspace; what fails is kept."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = str(kubeconfig)
        self._stop = Event()
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        asyncio.run(self._ask())

    def stop(self) -> None:
        self._stop.set()

    async def _ask(self) -> None:
        manifest = {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {
                "name": "asked",
                "namespace": "default",
                "annotations": {
                    "kaito.sh/runtime": "llamacpp",
                    "kaito.sh/use-local-weights": "true",
                },
            },
            "resource": {
                "instanceType": "local-cpu-2",
                "labelSelector": {"matchLabels": {"apps": "asked"}},
            },
            "inference": {"preset": {"name": "gemma-3-270m"}},
        }
        where = config.load(self._kubeconfig)
        async with Client(where, field_manager="load", kinds=[WORKSPACES], patience=0) as client:
            while not self._stop.is_set():
                try:
                    await client.create(manifest, dry_run=True)
                    self.answered += 1
                except KubeError as error:
                    self.failures.append(str(error))
                await asyncio.sleep(0.02)


@contextmanager
def load(cluster: Cluster) -> Iterator[Load]:
    asking = Load(cluster.state.kubeconfig)
    thread = Thread(target=asking.run)
    thread.start()
    try:
        yield asking
    finally:
        asking.stop()
        thread.join()


def machines(cluster: Cluster) -> set[str]:
    return {each["name"] for each in Machines(cluster).ask("GET", "/machines")}


def test_both_controllers_roll_under_load_without_a_failed_admission(
    cluster: Cluster, kubectl: Callable[..., str]
) -> None:
    before = machines(cluster)
    with load(cluster) as asking:
        until(lambda: asking.answered > 10 or asking.failures)
        for release, namespace in CHARTS.items():
            kubectl("rollout", "restart", "-n", namespace, f"deployment/{release}")
        for release, namespace in CHARTS.items():
            kubectl("rollout", "status", "-n", namespace, f"deployment/{release}", "--timeout=180s")
        until(lambda: all(len(pods(kubectl, release)) == 2 for release in CHARTS), 120)
    assert asking.failures == []
    assert asking.answered > 100
    assert machines(cluster) == before
    assert serves(kubectl, NAME)


@pytest.fixture(scope="module")
def ended() -> list[str]:
    """Pods of leaders that tests have killed."""
    return []


@pytest.mark.parametrize("release", CHARTS)
def test_a_leader_whose_pod_is_deleted_by_force_is_followed(
    kubectl: Callable[..., str], release: str, ended: list[str]
) -> None:
    killed = until(lambda: leader(kubectl, release))
    ended.append(killed)
    begun = time.monotonic()
    kubectl("delete", "pod", killed, "-n", CHARTS[release], "--force", "--grace-period=0")
    until(lambda: leader(kubectl, release) not in ("", killed), TAKE_OVER_SECONDS + 10)
    took = time.monotonic() - begun
    assert took <= TAKE_OVER_SECONDS, f"the next leader came after {took:.1f} s"


def test_the_next_leaders_go_on(cluster: Cluster, kubectl: Callable[..., str]) -> None:
    kubectl("apply", "-f", str(REPOSITORY / "examples/nodepool-static.yaml"))

    def is_ready() -> bool:
        nodes = get(kubectl, "nodes", "-l", "karpenter.sh/nodepool=warm").get("items", [])
        return [condition(each, "Ready").get("status") for each in nodes] == ["True"]

    until(is_ready, 90)
    assert len(machines(cluster)) == 2
    kubectl("delete", "nodepool", "warm", "--timeout=90s")
    until(lambda: len(get(kubectl, "nodeclaims")["items"]) == 1)
    assert len(machines(cluster)) == 1


def test_the_logs_of_ended_leaders_are_kept_to_look_through(
    logs: KeptLogs, ended: list[str]
) -> None:
    """The kubelet has removed them with their pods; whether one holds a secret is looked at when
    the cluster is down, as with every log of every module."""
    texts = logs.texts()
    assert len(ended) == len(CHARTS)
    for pod in ended:
        read = [text for name, text in texts.items() if f"_{pod}_" in name]
        assert any("controllers started" in text for text in read), f"no log of {pod}"


def test_an_uninstall_keeps_what_is_paid_for_and_says_so(
    cluster: Cluster, kubectl: Callable[..., str], tools: Tools
) -> None:
    before, (claim,) = machines(cluster), get(kubectl, "nodeclaims")["items"]
    said = {
        release: tools.helm("uninstall", release, "-n", namespace, "--wait")
        for release, namespace in CHARTS.items()
    }
    said["crds"] = tools.helm("uninstall", "karpenter-crds", "-n", "kube-system")
    assert "kept" in said["crds"]
    assert "nodeclaims.karpenter.sh" in said["crds"]
    assert machines(cluster) == before
    (kept,) = get(kubectl, "nodeclaims")["items"]
    assert kept["metadata"]["uid"] == claim["metadata"]["uid"]
    assert condition(get(kubectl, "node", kept["status"]["nodeName"]), "Ready")["status"] == "True"
    assert get(kubectl, "pod", f"{NAME}-0")["status"]["phase"] == "Running"


def test_what_is_installed_again_takes_over_what_was_kept(
    cluster: Cluster, kubectl: Callable[..., str], tools: Tools
) -> None:
    before, (claim,) = machines(cluster), get(kubectl, "nodeclaims")["items"]
    demo.install(tools, Stages(), cluster, "again")
    kubectl("annotate", "workspace", NAME, "kaito.sh/enablelb=True")
    until(lambda: get(kubectl, "service", NAME)["spec"]["type"] == "LoadBalancer")
    assert machines(cluster) == before
    assert get(kubectl, "nodeclaims")["items"][0]["metadata"]["uid"] == claim["metadata"]["uid"]
    kubectl("delete", "workspace", NAME, "--timeout=120s")
    until(lambda: machines(cluster) == set())
