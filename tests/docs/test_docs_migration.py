"""The steps of the migration pages, as they stand there, on a real API server: no Workspace and no
claim is lost, on the way and on the way back.

The charts that are migrated from are small ones of the Go charts' shape: CRDs among the templates
(KAITO, and those of a subchart that others use too) or in the folder that helm leaves alone
(gpu-provisioner), a Deployment of the same name with another selector.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane
from localcluster.paths import assets_directory, cache_directory
from tests.docs.pages import ROOT, Page

pytestmark = pytest.mark.integration


def crd(group: str, plural: str, kind: str, scope: str) -> dict:
    open_ended = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"served": True, "schema": {"openAPIV3Schema": open_ended}}
    names = ("v1alpha1", "v1beta1") if group == "kaito.sh" else ("v1",)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"plural": plural, "kind": kind},
            "scope": scope,
            "versions": [{"name": name, "storage": name == names[-1], **version} for name in names],
        },
    }


def deployment(name: str) -> dict:
    labels = {"app.kubernetes.io/name": name, "go": "true"}
    pod = {"containers": [{"name": "controller", "image": "go"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


WORKSPACE = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "phi", "namespace": "default"},
    "resource": {
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {"matchLabels": {"apps": "phi"}},
    },
    "inference": {"preset": {"name": "phi-4-mini-instruct"}},
}
CLAIM = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodeClaim",
    "metadata": {"name": "ws3f68048b9"},
    "spec": {
        "nodeClassRef": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
        "expireAfter": "Never",
        "requirements": [
            {
                "key": "node.kubernetes.io/instance-type",
                "operator": "In",
                "values": ["Standard_NC24ads_A100_v4"],
            }
        ],
    },
}


@dataclass(frozen=True, slots=True)
class Migration:
    page: str
    release: str
    namespace: str
    crds_in: str
    """The folder of the chart."""
    crds: tuple[dict, ...]
    subchart: tuple[dict, ...]
    """What it has besides the CRD of another's objects."""
    live: dict
    """An object that must outlive all of it."""
    resource: str


MIGRATIONS = (
    Migration(
        "kaito",
        "kaito-workspace",
        "kaito-workspace",
        "templates",
        (
            crd("kaito.sh", "workspaces", "Workspace", "Namespaced"),
            crd("kaito.sh", "inferencesets", "InferenceSet", "Namespaced"),
            crd("kaito.sh", "modelmirrors", "ModelMirror", "Cluster"),
        ),
        (crd("helm.toolkit.fluxcd.io", "helmreleases", "HelmRelease", "Namespaced"),),
        WORKSPACE,
        "workspaces.kaito.sh/phi",
    ),
    Migration(
        "gpu-provisioner",
        "gpu-provisioner",
        "gpu-provisioner",
        "crds",
        (crd("karpenter.sh", "nodeclaims", "NodeClaim", "Cluster"),),
        (),
        CLAIM,
        "nodeclaims.karpenter.sh/ws3f68048b9",
    ),
)


class Shell:
    """A reader's, in the root of the repository, with these programs alone."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        binaries = Binaries(cache_directory(os.environ), assets_directory(os.environ))
        for name in ("kubectl", "helm"):
            (folder / name).symlink_to(binaries.path(name))
        places = (str(folder), str(Path(sys.executable).parent), os.environ["PATH"])
        self.folder = folder
        self._environment = os.environ | {
            "PATH": os.pathsep.join(places),
            "KUBECONFIG": str(kubeconfig),
            "HOME": str(folder),
        }

    def run(self, text: str, told: str = "") -> str:
        result = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", text],
            env=self._environment,
            cwd=self.folder,
            input=told,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"
        return result.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    binaries = Binaries(cache_directory(os.environ), assets_directory(os.environ))
    cluster = ControlPlane(tmp_path_factory.mktemp("cluster"), binaries, with_parent=True)
    cluster.start()
    folder = tmp_path_factory.mktemp("reader")
    (folder / "charts").symlink_to(ROOT / "charts")
    yield Shell(folder, cluster.kubeconfig)
    cluster.stop()


def steps(page: str, heading: str) -> list[str]:
    """The blocks of commands under a heading, those about RAGEngines left out."""
    found, under = [], ""
    tokens = Page(ROOT / "docs" / "migration" / f"{page}.md").tokens
    for before, token in pairwise(tokens):
        if before.type == "heading_open" and before.tag == "h2":
            under = token.content
        if token.type == "fence" and under == heading and "ragengine" not in token.content:
            found.append(token.content)
    return found


def go_chart(folder: Path, migration: Migration) -> Path:
    chart = folder / f"go-{migration.release}"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": migration.release, "version": "0.12.0"})
    )
    (chart / migration.crds_in).mkdir(exist_ok=True)
    (chart / migration.crds_in / "crds.yaml").write_text(yaml.safe_dump_all(migration.crds))
    (chart / "templates" / "all.yaml").write_text(yaml.safe_dump(deployment(migration.release)))
    if migration.subchart:
        inside = chart / "charts" / "flux2"
        (inside / "templates").mkdir(parents=True)
        (inside / "Chart.yaml").write_text(
            yaml.safe_dump({"apiVersion": "v2", "name": "flux2", "version": "2.19.1"})
        )
        objects = (*migration.subchart, deployment("helm-controller"))
        (inside / "templates" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    return chart


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda each: each.page)
def test_the_steps_lose_nothing(shell: Shell, migration: Migration):
    chart = go_chart(shell.folder, migration)
    where = f"--namespace {migration.namespace}"
    shell.run(f"helm install {migration.release} {chart} {where} --create-namespace")
    kept = (*migration.crds, *migration.subchart)
    names = " ".join(f"crd/{each['metadata']['name']}" for each in kept)
    shell.run(f"kubectl wait --for=condition=Established {names} --timeout=30s")
    shell.run("kubectl create -f -", yaml.safe_dump(migration.live))
    uid = f"kubectl get {migration.resource} {names} -o jsonpath='{{.items[*].metadata.uid}}'"
    before = shell.run(uid)
    selector = (
        f"kubectl -n {migration.namespace} get deployment {migration.release}"
        " -o jsonpath='{.spec.selector.matchLabels.go}'"
    )

    there = steps(migration.page, "Step by step")
    assert len(there) >= 3
    said = "".join(shell.run(block.replace("RELEASE", migration.release)) for block in there)
    assert shell.run(uid) == before
    assert shell.run(selector) == ""
    # As the page says: what is printed beforehand goes, but its CRDs.
    assert ("charts/flux2/" in said) is bool(migration.subchart)
    assert "helm-controller" not in shell.run(f"kubectl get deployments {where} -o name")

    for block in steps(migration.page, "Back again"):
        way_back = block.replace("KAITO_CHART", str(chart))
        shell.run(way_back.replace("RELEASE", migration.release))
    assert shell.run(uid) == before
    assert shell.run(selector) == "true"
