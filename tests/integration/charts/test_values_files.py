"""Every values file of every chart, rendered and judged by a real API server's dry run.

The operators' CRDs are those of their releases (tests/charts/crds), so that what is said to
Prometheus and cert-manager is judged as well: unknown and misspelt fields are errors.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localcluster.binaries import Binaries
from tests.conformance.charts.rendering import CHARTS, ROOT, VALUES_FILES, filled_in, render

pytestmark = pytest.mark.integration

Object = dict[str, Any]
Answer = subprocess.CompletedProcess[str]
Kubectl = Callable[..., Answer]

RELEASES = "kaito-system"
"""The namespace that `render` names."""
RESTRICTED = "kaito-restricted"
FILES = [pytest.param(path, id=f"{path.parts[-3]}-{path.stem}") for path in VALUES_FILES]
OPTIONAL = {
    *("Certificate", "ConfigMap", "DaemonSet", "Issuer", "NetworkPolicy", "PodMonitor"),
    *("PrometheusRule", "ServiceMonitor"),
}
"""What only some files have."""
EXCEPTIONS = {
    "gpu-provisioner/ci/everything-values.yaml": "host namespaces (hostNetwork=true)",
}
"""The pods that the restricted standard refuses, and why: hostNetwork is asked for there."""


@pytest.fixture(scope="module")
def kubectl(kubeconfig: Path, binaries: Binaries) -> Kubectl:
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}

    def run(*arguments: str, told: Object | None = None) -> Answer:
        return subprocess.run(
            [str(binaries.path("kubectl")), *arguments],
            env=environment,
            input=json.dumps(told) if told else "",
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def succeeds(answer: Answer) -> str:
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def prepared(kubectl: Kubectl) -> None:
    """The operators' CRDs, and both namespaces."""
    succeeds(kubectl("apply", "--server-side", "--filename", str(ROOT / "tests/charts/crds")))
    succeeds(
        kubectl(
            *("wait", "--for=condition=Established", "--timeout=30s"),
            *("--filename", str(ROOT / "tests/charts/crds")),
        )
    )
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name, labels in ((RELEASES, {}), (RESTRICTED, label)):
        namespace = {"apiVersion": "v1", "kind": "Namespace"}
        metadata = {"name": name, "labels": labels}
        succeeds(
            kubectl("apply", "--server-side", "-f", "-", told=namespace | {"metadata": metadata})
        )


def listed(objects: list[Object]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def dry_run(kubectl: Kubectl, objects: list[Object]) -> Answer:
    flags = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
    return kubectl("apply", *flags, "-f", "-", told=listed(objects))


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("path", FILES)
def test_the_api_server_takes_what_is_rendered(kubectl: Kubectl, path: Path) -> None:
    objects = render(path.parent.parent.name, file=path)
    said = succeeds(dry_run(kubectl, objects)).splitlines()
    assert len(said) == len(objects)


@pytest.mark.usefixtures("prepared")
def test_a_misspelt_field_would_be_noticed(kubectl: Kubectl) -> None:
    """Among ours, and among the operators' objects."""
    for chart, file, kind in (
        ("workspace", "ci/operators-values.yaml", "Certificate"),
        ("workspace", "ci/operators-values.yaml", "PodMonitor"),
        ("workspace", "ci/operators-values.yaml", "Deployment"),
    ):
        objects = [
            each for each in render(chart, file=CHARTS / chart / file) if each["kind"] == kind
        ]
        objects[0]["spec"]["misspelt"] = 1
        answer = dry_run(kubectl, objects)
        assert answer.returncode != 0
        assert "misspelt" in answer.stderr


def test_the_files_have_every_kind_of_object_between_them() -> None:
    kinds = {each["kind"] for path in VALUES_FILES for each in render(path.parts[-3], file=path)}
    rules = [path for path in CHARTS.glob("*/files/rules/*.yaml")]
    assert kinds >= (OPTIONAL if rules else OPTIONAL - {"PrometheusRule"})


def pod(name: str, template: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": RESTRICTED,
            "labels": template["metadata"]["labels"],
        },
        "spec": template["spec"],
    }


def admitted(kubectl: Kubectl, wanted: Object) -> str:
    """What the API server has against that pod, if anything; its account is made before."""
    account = wanted["spec"].get("serviceAccountName", "default")
    metadata = {"name": account, "namespace": RESTRICTED}
    made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    succeeds(kubectl("apply", "--server-side", "-f", "-", told=made))
    answer = kubectl("create", "--dry-run=server", "-f", "-", told=wanted)
    return answer.stderr if answer.returncode else ""


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize(
    "path", [each for each in FILES if "crds" not in str(each.values[0].parts[-3])]
)
def test_a_restricted_namespace_admits_the_pods(kubectl: Kubectl, path: Path) -> None:
    (deployment,) = (
        each for each in render(path.parts[-3], file=path) if each["kind"] == "Deployment"
    )
    said = admitted(kubectl, pod("controller", deployment["spec"]["template"]))
    why = EXCEPTIONS.get(str(path.relative_to(CHARTS)), "")
    if why:
        assert 'violates PodSecurity "restricted:latest": ' + why in said
    else:
        assert said == ""


@pytest.mark.usefixtures("prepared")
def test_only_the_device_plugin_needs_another_namespace(kubectl: Kubectl) -> None:
    """It mounts a directory of the node, and writes it as root."""
    azure = CHARTS / "workspace/values/azure.yaml"
    (plugin,) = (each for each in render("workspace", file=azure) if each["kind"] == "DaemonSet")
    said = admitted(kubectl, pod("plugin", plugin["spec"]["template"]))
    assert 'volume "device-plugin" uses restricted volume type "hostPath"' in said
    assert filled_in(azure)["nvidiaDevicePlugin"]["namespace"] == "kube-system"
