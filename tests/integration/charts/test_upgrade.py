"""From the chart version before to this one and away, by the real helm on a real API server.

tests/charts/0.1.0 has the charts as they were. What users have made with them (a Workspace, a
NodeClaim with its finalizer, its node), the CRDs and the webhooks' authority must outlive all of
it. The tests of this module are one story, in order.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
CHARTS = ROOT / "charts"
BEFORE = ROOT / "tests/charts/0.1.0"
SPACE = "kaito-system"
WEBHOOKS = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
AUTHORITY = base64.b64encode(b"written by the controller").decode()
Object = dict[str, Any]

VALUES: dict[str, Object] = {
    "karpenter-crds": {},
    "gpu-provisioner": {"cloudProviderName": "kwok"},
    # No controller answers here, so Workspaces pass unchecked.
    "workspace": {
        "cloudProviderName": "local",
        "webhook": {"failurePolicy": "Ignore", "timeoutSeconds": 1},
    },
}
WORKSPACE: Object = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {
        "name": "phi",
        "namespace": "default",
        "finalizers": ["workspace.finalizer.kaito.sh"],
    },
    "resource": {"instanceType": "local-gpu-1", "labelSelector": {"matchLabels": {"apps": "phi"}}},
    "inference": {"preset": {"name": "phi-4-mini-instruct"}},
}
CLAIM: Object = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodeClaim",
    "metadata": {"name": "phi-1", "finalizers": ["karpenter.sh/termination"]},
    "spec": {
        "nodeClassRef": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
        "requirements": [
            {
                "key": "node.kubernetes.io/instance-type",
                "operator": "In",
                "values": ["local-gpu-1"],
            }
        ],
    },
}
NODE: Object = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "phi-1", "finalizers": ["karpenter.sh/termination"]},
}
KEPT = {
    "workspaces.kaito.sh/phi",
    "nodeclaims.karpenter.sh/phi-1",
    "nodes/phi-1",
    "crd/nodeclaims.karpenter.sh",
    "crd/nodepools.karpenter.sh",
    "crd/ragengines.kaito.sh",
    "crd/workspaces.kaito.sh",
}


@dataclass(frozen=True)
class Cluster:
    """helm and kubectl against an API server."""

    binaries: Binaries
    environment: dict[str, str]

    def run(self, name: str, *arguments: str, told: Object | None = None) -> str:
        answer = self.ask(name, *arguments, told=told)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout + answer.stderr

    def ask(
        self, name: str, *arguments: str, told: Object | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.binaries.path(name)), *arguments],
            env=self.environment,
            input="" if told is None else json.dumps(told),
            capture_output=True,
            text=True,
            check=False,
        )

    def helm(self, verb: str, chart: Path, *flags: str, values: Object | None = None) -> str:
        told = ("--values", "-") if values is not None else ()
        where = ("--namespace", SPACE, "--create-namespace")
        return self.run("helm", verb, chart.name, str(chart), *where, *told, *flags, told=values)

    def identities(self) -> dict[str, str]:
        """The uid of everything that must be kept, by what it is."""
        return {each: self.shown(each)["metadata"]["uid"] for each in KEPT}

    def shown(self, what: str) -> Object:
        found: Object = json.loads(self.run("kubectl", "get", what, "-o", "json"))
        return found

    def authorities(self) -> set[str]:
        return {
            webhook["clientConfig"].get("caBundle", "")
            for each in self.shown(WEBHOOKS)["items"]
            for webhook in each["webhooks"]
        }


@pytest.fixture(scope="module")
def cluster(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    control_plane = ControlPlane(tmp_path_factory.mktemp("cluster"), binaries, with_parent=True)
    control_plane.start()
    home = str(tmp_path_factory.mktemp("home"))
    kubeconfig = {"KUBECONFIG": str(control_plane.kubeconfig), "HOME": home}
    yield Cluster(binaries, {**os.environ, **kubeconfig})
    control_plane.stop()


@pytest.fixture(scope="module")
def before(cluster: Cluster) -> dict[str, str]:
    """Version 0.1.0 with all that users and controllers have made; the uids of what is kept."""
    for name, values in VALUES.items():
        cluster.helm("install", BEFORE / name, values=values)
    for each in (WORKSPACE, CLAIM, NODE):
        cluster.run("kubectl", "apply", "--server-side", "-f", "-", told=each)
    for each in cluster.shown(WEBHOOKS)["items"]:
        webhooks = [
            {"name": webhook["name"], "clientConfig": {"caBundle": AUTHORITY}}
            for webhook in each["webhooks"]
        ]
        written = {
            "apiVersion": each["apiVersion"],
            "kind": each["kind"],
            "metadata": {"name": each["metadata"]["name"]},
            "webhooks": webhooks,
        }
        manager = "--field-manager=kaito-workspace-controller"
        cluster.run("kubectl", "apply", "--server-side", manager, "-f", "-", told=written)
    return cluster.identities()


@pytest.fixture(scope="module")
def after(cluster: Cluster, before: dict[str, str]) -> None:
    """All charts of this version over those."""
    assert before.keys() == KEPT
    for name in VALUES:
        cluster.helm("upgrade", CHARTS / name, "--reset-then-reuse-values")


@pytest.mark.usefixtures("before")
def test_values_of_the_old_version_alone_are_refused_with_a_sentence(cluster: Cluster) -> None:
    for name in ("gpu-provisioner", "workspace"):
        chart = (name, str(CHARTS / name), "--namespace", SPACE)
        answer = cluster.ask("helm", "upgrade", *chart, "--reuse-values")
        assert answer.returncode != 0
        assert "upgrade with --reset-then-reuse-values or --values, not --reuse-" in answer.stderr


@pytest.mark.usefixtures("after")
def test_an_upgrade_keeps_what_users_have(cluster: Cluster, before: dict[str, str]) -> None:
    assert cluster.identities() == before
    stored = cluster.shown("workspaces.kaito.sh/phi")
    assert stored["inference"]["preset"]["name"] == "phi-4-mini-instruct"
    claim = cluster.shown("nodeclaims.karpenter.sh/phi-1")
    assert claim["metadata"]["finalizers"] == ["karpenter.sh/termination"]
    assert "deletionTimestamp" not in claim["metadata"]


@pytest.mark.usefixtures("after")
def test_an_upgrade_keeps_the_webhooks_authority(cluster: Cluster) -> None:
    assert cluster.authorities() == {AUTHORITY}


@pytest.mark.usefixtures("after")
def test_an_upgrade_brings_what_is_new(cluster: Cluster) -> None:
    for name in ("gpu-provisioner", "workspace"):
        deployment = cluster.run(
            *("kubectl", "get", "deployment", name, "--namespace", SPACE, "-o", "json")
        )
        assert json.loads(deployment)["spec"]["replicas"] == 2
    for crd in KEPT:
        if not crd.startswith("crd/"):
            continue
        live = cluster.shown(crd)
        source = f"{live['spec']['group']}_{live['spec']['names']['plural']}.yaml"
        wanted = yaml.safe_load((ROOT / "apis/crds" / source).read_text())
        assert [each["name"] for each in live["spec"]["versions"]] == [
            each["name"] for each in wanted["spec"]["versions"]
        ]
        assert described(live) == described(wanted)
        stored = [each["name"] for each in wanted["spec"]["versions"] if each["storage"]]
        assert live["status"]["storedVersions"] == stored


def described(crd: Object) -> str:
    """Its schemas without what the API server adds to them."""
    return json.dumps(
        [sorted(_paths(each["schema"]["openAPIV3Schema"])) for each in crd["spec"]["versions"]]
    )


def _paths(schema: Object, at: str = "") -> Iterator[str]:
    yield at
    for name, inside in schema.get("properties", {}).items():
        yield from _paths(inside, f"{at}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _paths(schema["items"], f"{at}[]")


@pytest.mark.usefixtures("after")
def test_the_examples_for_artifact_hub_are_valid(cluster: Cluster) -> None:
    chart = yaml.safe_load((CHARTS / "workspace/Chart.yaml").read_text())["annotations"]
    examples = yaml.safe_load(chart["artifacthub.io/crdsExamples"])
    assert {each["kind"] for each in examples} == {"Workspace", "RAGEngine"}
    for each in examples:
        cluster.run("kubectl", "create", "--dry-run=server", "-f", "-", told=each)


@pytest.mark.usefixtures("after")
def test_a_crd_has_one_owner(cluster: Cluster) -> None:
    chart = CHARTS / "kaito-crds"
    answer = cluster.ask("helm", "install", chart.name, str(chart), "--namespace", SPACE)
    assert answer.returncode != 0
    assert "invalid ownership metadata" in answer.stderr
    assert owner(cluster) == "workspace"


@pytest.mark.usefixtures("after")
def test_crds_pass_to_their_own_chart_and_back(cluster: Cluster, before: dict[str, str]) -> None:
    """As the README of kaito-crds says."""
    upgrade = ("upgrade", CHARTS / "workspace", "--reuse-values")
    cluster.helm(*upgrade, "--set", "crds.install=false")
    assert cluster.identities() == before

    cluster.helm("install", CHARTS / "kaito-crds", "--take-ownership")
    assert owner(cluster) == "kaito-crds"
    cluster.helm("upgrade", CHARTS / "kaito-crds")
    cluster.helm(*upgrade, "--set", "webhook.timeoutSeconds=2")
    assert cluster.identities() == before

    said = cluster.run("helm", "uninstall", "kaito-crds", "--namespace", SPACE)
    assert "[CustomResourceDefinition] workspaces.kaito.sh" in said
    cluster.helm(*upgrade, "--set", "crds.install=true", "--take-ownership")
    assert owner(cluster) == "workspace"
    assert cluster.identities() == before
    assert cluster.authorities() == {AUTHORITY}


def owner(cluster: Cluster) -> str:
    annotations = cluster.shown("crd/workspaces.kaito.sh")["metadata"]["annotations"]
    return str(annotations["meta.helm.sh/release-name"])


@pytest.mark.usefixtures("after")
def test_uninstalling_keeps_claims_nodes_and_crds_and_says_so(
    cluster: Cluster, before: dict[str, str]
) -> None:
    said = {
        name: cluster.run("helm", "uninstall", name, "--namespace", SPACE)
        for name in ("workspace", "gpu-provisioner", "karpenter-crds")
    }

    assert all(
        "These resources were kept due to the resource policy" in each for each in said.values()
    )
    assert "[CustomResourceDefinition] workspaces.kaito.sh" in said["workspace"]
    assert "[CustomResourceDefinition] nodeclaims.karpenter.sh" in said["karpenter-crds"]
    note = "gpu-provisioner-nodeclaims-and-nodes-are-kept"
    assert f"[ConfigMap] {note}" in said["gpu-provisioner"]
    assert cluster.identities() == before
    for what in ("nodeclaims.karpenter.sh/phi-1", "nodes/phi-1"):
        metadata = cluster.shown(what)["metadata"]
        assert metadata["finalizers"] == ["karpenter.sh/termination"]
        assert "deletionTimestamp" not in metadata
    assert cluster.shown(WEBHOOKS)["items"] == []
    left = cluster.run(
        *("kubectl", "get", "deployments,services,configmaps,poddisruptionbudgets"),
        *("--namespace", SPACE, "-l", "app.kubernetes.io/managed-by=Helm", "-o", "name"),
    )
    assert left.split() == [f"configmap/{note}"]


@pytest.mark.usefixtures("after")
def test_installing_again_takes_everything_up(cluster: Cluster, before: dict[str, str]) -> None:
    """After the uninstallation; by the same names, also over the note."""
    for name, values in VALUES.items():
        cluster.helm("install", CHARTS / name, values=values)
    assert cluster.identities() == before
    notes = cluster.run("helm", "get", "notes", "gpu-provisioner", "--namespace", SPACE)
    assert "There are 1 NodeClaims now, which would stay with their nodes." in notes
