"""The charts on a real API server, which judges schema, RBAC and field ownership itself."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from kube import config
from kube.certificate_sources import WebhookTrust
from kube.client import Client
from kube.objects import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane
from workspace_controller import webhooks

pytestmark = pytest.mark.integration

CHARTS = Path(__file__).parents[3] / "charts"
Run = Callable[..., str]
AUTHORITY = b"""-----BEGIN CERTIFICATE-----
MIIBDzCBt6ADAgECAgEBMAoGCCqGSM49BAMCMBExDzANBgNVBAMMBmEgdGVzdDAg
Fw0yNjAxMDEwMDAwMDBaGA8yMTI2MDEwMTAwMDAwMFowETEPMA0GA1UEAwwGYSB0
ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYeADbF3DgB2GjiGJEGhRXNfP
ux/zt2TyyUDWACrOYfp/AtIcgwhqsjh72VVME2h0uGJYqXhVotgGHk+bS13JJTAK
BggqhkjOPQQDAgNHADBEAiBFwwuYcubXuv+JAVspoVGTPg5Wv+l+tQdohQouFs3j
kgIgFGFPuAaPTxcNJqfLN0e2HV98c0r/eGdxqYvs9KAIvRM=
-----END CERTIFICATE-----
"""


@pytest.fixture(scope="module")
def cluster(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of its own: the webhooks refuse Workspaces while no controller runs."""
    control_plane = ControlPlane(tmp_path_factory.mktemp("cluster"), binaries, with_parent=True)
    control_plane.start()
    yield control_plane
    control_plane.stop()


@pytest.fixture(scope="module")
def run(cluster: ControlPlane, binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = str(tmp_path_factory.mktemp("home"))
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "HOME": home}

    def program(name: str, *arguments: str, told: str = "") -> str:
        result = subprocess.run(
            [str(binaries.path(name)), *arguments],
            env=environment,
            input=told,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return program


@pytest.fixture(scope="module")
def installed(run: Run) -> None:
    """All three charts, as the quick start installs them."""
    run("helm", "install", "karpenter-crds", str(CHARTS / "karpenter-crds"))
    for name in ("gpu-provisioner", "workspace"):
        values = CHARTS / name / "values/local.yaml"
        run(
            *("helm", "install", name, str(CHARTS / name), "--values", str(values)),
            *("--namespace", "kaito-system", "--create-namespace"),
        )


@pytest.fixture
async def client(cluster: ControlPlane) -> AsyncIterator[Client]:
    endpoint = config.load(str(cluster.kubeconfig))
    async with Client(endpoint, field_manager="kaito-workspace-controller") as client:
        yield client


def may(run: Run, account: str, verb: str, resource: str, name: str = "", space: str = "") -> bool:
    """What the API server's own authorizer says."""
    group, _, kind = resource.rpartition("/")
    kind, _, subresource = kind.partition(":")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:kaito-system:{account}",
            "resourceAttributes": {
                "verb": verb,
                "group": group,
                "resource": kind,
                "subresource": subresource,
                "name": name,
                "namespace": space,
            },
        },
    }
    answer = run("kubectl", "create", "-o", "json", "-f", "-", told=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


@pytest.mark.usefixtures("installed")
def test_the_crds_are_established(run: Run) -> None:
    names = run("kubectl", "get", "crd", "-o", "name").split()
    assert {name.partition("/")[2] for name in names} == {
        "nodeclaims.karpenter.sh",
        "nodepools.karpenter.sh",
        "ragengines.kaito.sh",
        "workspaces.kaito.sh",
    }


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("account", "verb", "resource", "name", "space", "allowed"),
    [
        ("gpu-provisioner", "delete", "karpenter.sh/nodeclaims", "", "", True),
        ("gpu-provisioner", "create", "pods:eviction", "x", "default", True),
        ("gpu-provisioner", "get", "secrets", "", "kaito-system", False),
        ("workspace", "create", "karpenter.sh/nodeclaims", "", "", True),
        ("workspace", "patch", "apps/statefulsets", "x", "default", True),
        ("workspace", "delete", "batch/jobs", "x", "default", True),
        ("workspace", "patch", "batch/jobs", "x", "default", False),
        ("workspace", "patch", "secrets", "workspace-webhook-cert", "kaito-system", True),
        ("workspace", "patch", "secrets", "another", "kaito-system", False),
        ("workspace", "get", "secrets", "hub-token", "default", True),
        ("workspace", "get", "pods:log", "x", "default", True),
        ("workspace", "list", "secrets", "", "default", False),
        ("workspace", "patch", "secrets", "workspace-webhook-cert", "default", False),
        ("workspace", "create", "secrets", "phi-adapters", "default", True),
        ("workspace", "delete", "pods", "phi-adapters-0a1b2c3d", "default", True),
        ("workspace", "delete", "nodes", "x", "", False),
    ],
)
def test_the_accounts_may_do_so_much(
    run: Run, account: str, verb: str, resource: str, name: str, space: str, allowed: bool
) -> None:
    assert may(run, account, verb, resource, name, space) is allowed


@pytest.mark.usefixtures("installed")
async def test_an_upgrade_keeps_the_authority_that_the_controller_wrote(
    run: Run, client: Client
) -> None:
    trust = WebhookTrust(client, validating=webhooks.VALIDATING, mutating=webhooks.MUTATING)
    await trust.publish(AUTHORITY)

    run(
        *("helm", "upgrade", "workspace", str(CHARTS / "workspace"), "--namespace", "kaito-system"),
        *("--reuse-values", "--set", "webhook.timeoutSeconds=7"),
    )

    for resource, name in (
        *((VALIDATING_WEBHOOKS, name) for name in webhooks.VALIDATING),
        *((MUTATING_WEBHOOKS, name) for name in webhooks.MUTATING),
    ):
        live = await client.get(resource, name)
        assert live is not None
        (webhook,) = live.webhooks
        assert base64.b64decode(webhook.client_config.ca_bundle) == AUTHORITY
        shown = json.loads(run("kubectl", "get", resource.plural, name, "-o", "json"))
        assert shown["webhooks"][0]["timeoutSeconds"] == 7


@pytest.mark.usefixtures("installed")
def test_the_crds_outlive_their_releases_and_are_taken_up_again(run: Run) -> None:
    for name, space in (("workspace", "kaito-system"), ("karpenter-crds", "default")):
        run("helm", "uninstall", name, "--namespace", space)
    left = run("kubectl", "get", "crd", "-o", "name")
    assert "workspaces.kaito.sh" in left
    assert "nodeclaims.karpenter.sh" in left

    run("helm", "install", "karpenter-crds", str(CHARTS / "karpenter-crds"))
    run(
        *("helm", "install", "workspace", str(CHARTS / "workspace"), "--namespace", "kaito-system"),
        *("--set", "cloudProviderName=local"),
    )
