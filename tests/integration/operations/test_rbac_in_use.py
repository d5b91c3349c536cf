"""What the charts allow their controllers is what these ask for: no less, and no more.

Both run as processes, with the environment and the account that their chart gives them, and do all
of their work on a real control plane, whose audit log says what they asked for.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import audit
import installation
import pytest
import yaml
from audit import Grant
from installation import SPACE, Run
from kubelets import kubelets
from machinecloud import machine_cloud
from programs import Program, eventually, program
from users import Users

from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube import config
from kube.client import Client
from kube.meta import Resource
from kube.objects import Unstructured
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane
from localcluster.processes import wait_until

UNUSED = Path(__file__).with_name("grants_without_use.yaml")
TOKEN = "localMachines.tokenSecret.name=local-machines"
LOCAL = (
    ("gpu-provisioner", "cloudProviderName=local", "localMachines.url=http://x", TOKEN),
    (
        "workspace",
        "cloudProviderName=local",
        "endpointNetworkPolicy.enabled=true",
        "gpuQuota.default=16",
    ),
)
POOLED = (
    ("gpu-provisioner", "cloudProviderName=kwok", "nodeClasses={KaitoNodeClass.kaito.sh}"),
    (
        "workspace",
        "cloudProviderName=kwok",
        "nodeProvisioner=karpenter",
        "karpenterProvider=kaito",
    ),
)

CLASSED = (("workspace", "cloudProviderName=azure", "nodeProvisioner=karpenter"),)

AKS_NODE_CLASSES: Resource[Unstructured] = Resource(
    "karpenter.azure.com", "v1beta1", "AKSNodeClass", "aksnodeclasses", Unstructured, False
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited")


@pytest.fixture(scope="module")
def audited(binaries: Binaries, folder: Path) -> Iterator[ControlPlane]:
    """With controller manager and scheduler, and with the admission plugin that OpenShift has."""
    flags = {
        **audit.flags(folder),
        "endpoint-reconciler-type": "none",
        "enable-admission-plugins": "NodeRestriction,OwnerReferencesPermissionEnforcement",
    }
    plane = ControlPlane(folder / "plane", binaries, full=True, with_parent=True, api_flags=flags)
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture(scope="module")
def run(runner: Callable[[ControlPlane], Run], audited: ControlPlane) -> Run:
    return runner(audited)


@pytest.fixture
async def client(audited: ControlPlane) -> AsyncIterator[Client]:
    kinds = (WORKSPACES, RAG_ENGINES, NODE_CLAIMS, NODE_POOLS)
    endpoint = config.kubeconfig(str(audited.kubeconfig))
    async with Client(endpoint, field_manager="users", kinds=kinds) as client:
        yield client


@asynccontextmanager
async def installed(
    run: Run,
    plane: ControlPlane,
    charts: tuple[tuple[str, ...], ...],
    folder: Path,
    **more: str,
) -> AsyncIterator[dict[str, Program]]:
    """The charts with these values, and a controller of each, which works."""
    async with AsyncExitStack() as stack:
        running = {}
        for name, *values in charts:
            installation.install(run, name, *values)
            environment = {
                **installation.environment(run, name),
                "KUBECONFIG": str(installation.account(plane, run, name, folder)),
                "POD_NAMESPACE": SPACE,
                "HF_HUB_OFFLINE": "1",
                "WEBHOOK_SERVICE": "localhost",
                **more,
            }
            for port in ("METRICS_PORT", "HEALTH_PROBE_PORT", "WEBHOOK_PORT", "DEBUG_PORT"):
                environment.pop(port, None)
            module = "gpu_provisioner" if name == "gpu-provisioner" else "workspace_controller"
            running[name] = await stack.enter_async_context(
                program(module, f"{name}-0", environment, folder)
            )
        installation.lead_webhooks_to(run, running["workspace"].webhook_port)
        for each in running.values():
            await eventually(each.ready)
        yield running
        for each in running.values():
            await each.terminate()
    for name in running:
        installation.uninstall(run, name)


async def test_they_may_do_what_they_do_and_nothing_else(
    run: Run, audited: ControlPlane, client: Client, folder: Path
) -> None:
    installation.install_crds(run)
    async with kubelets(client) as lingering:
        await _work_with_claims(run, audited, client, folder, lingering)
        await _work_with_pools(run, audited, client, folder)
    asked = audit.read(folder)
    assert not audit.refused(asked)
    wanted: dict[str, dict[str, str]] = yaml.safe_load(UNUSED.read_text())
    for name in installation.RELEASES:
        granted = _granted(run, name)
        used = audit.used(asked, name)
        assert not {str(each) for each in used - granted}, f"{name}: not by the chart's roles"
        unused = {str(each) for each in granted - used}
        assert not unused - wanted[name].keys(), f"{name}: granted, and used by nobody"
        stale = wanted[name].keys() - {str(each) for each in granted}
        assert not stale, f"{name}: listed, and not granted"


async def _work_with_claims(
    run: Run, plane: ControlPlane, client: Client, folder: Path, lingering: set[str]
) -> None:
    async with machine_cloud(client, folder) as cloud:
        more = {**cloud.environment, "FEATURE_GATES": "ModelStreaming=true"}
        async with installed(run, plane, LOCAL, folder, **more):
            users = Users(client, "local-gpu-1")
            await users.serve()
            await users.take_adapters()
            await users.is_ready_with_adapters()
            await users.lose_pod()
            await users.set_service_back()
            await users.tune()
            await users.answer()
            await users.hurry(lingering)
            await users.ask_for_what_is_not_sold()
            await users.keep_warm()
            await users.lose_node()
            await users.stop_answering()
            await users.end("serves", "tunes")


async def _work_with_pools(run: Run, plane: ControlPlane, client: Client, folder: Path) -> None:
    async with installed(run, plane, POOLED, folder):
        users = Users(client, "kwok-a10-1")
        await users.serve("pooled")
        await users.end("pooled")
    async with installed(run, plane, CLASSED, folder):
        await users.there(AKS_NODE_CLASSES, "image-family-ubuntu", "")


def _granted(run: Run, name: str) -> set[Grant]:
    """With the values above, and with those of each cloud."""
    given = [
        values for charts in (LOCAL, POOLED, CLASSED) for chart, *values in charts if chart == name
    ]
    rules: list[dict[str, Any]] = []
    for values in given:
        rules += installation.rules(installation.rendered(run, name, *values))
    for file in sorted((installation.CHARTS / name / "values").glob("*.yaml")):
        rules += installation.rules(installation.rendered(run, name, file=file))
    return audit.granted(rules)


PEOPLE = {
    # user: (Kubernetes' own role, what they may do, what they may not)
    "viewer": (
        "view",
        ("get workspaces", "list ragengines", "get workspaces/status", "watch nodeclaims"),
        ("create workspaces", "patch ragengines", "delete nodeclaims", "create nodepools"),
    ),
    "editor": (
        "edit",
        ("list workspaces", "create workspaces", "delete ragengines", "get nodepools"),
        ("patch workspaces/status", "delete nodeclaims", "update nodepools"),
    ),
    "owner": (
        "admin",
        ("update ragengines", "deletecollection workspaces", "list nodepools"),
        ("update workspaces/status", "create nodeclaims"),
    ),
}


@pytest.mark.parametrize("user", PEOPLE)
def test_kubernetes_own_roles_know_our_kinds(run: Run, aggregated: None, user: str) -> None:
    role, may, may_not = PEOPLE[user]
    binding = ("--clusterrole", role, "--user", user)
    run("kubectl", "create", "clusterrolebinding", user, *binding)
    assert [what for what in may if not _can(run, user, what)] == []
    assert [what for what in may_not if _can(run, user, what)] == []


def test_who_edits_a_namespace_edits_no_other(run: Run, aggregated: None) -> None:
    run("kubectl", "create", "namespace", "team")
    binding = ("--clusterrole", "edit", "--user", "member", "--namespace", "team")
    run("kubectl", "create", "rolebinding", "member", *binding)
    assert _can(run, "member", "create workspaces", "team")
    assert not _can(run, "member", "create workspaces", "default")
    assert not _can(run, "member", "list nodeclaims")  # of the whole cluster


def test_no_role_has_a_wildcard(run: Run) -> None:
    for name in installation.RELEASES:
        for file in sorted((installation.CHARTS / name / "values").glob("*.yaml")):
            roles = [
                each
                for each in installation.rendered(run, name, file=file)
                if each["kind"] in {"ClusterRole", "Role"}
            ]
            assert roles
            for rule in (rule for role in roles for rule in role["rules"]):
                assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}, rule


@pytest.fixture(scope="module")
def aggregated(run: Run) -> Iterator[None]:
    """Both charts installed, and their roles added to Kubernetes' own."""
    installation.install_crds(run)
    for name, *values in LOCAL:
        installation.install(run, name, *values)
    wanted = ("create workspaces", "get workspaces", "get nodeclaims")
    run("kubectl", "create", "clusterrolebinding", "all", "--clusterrole=admin", "--user=all")
    assert wait_until(lambda: all(_can(run, "all", what) for what in wanted), 20)
    yield
    for name in installation.RELEASES:
        installation.uninstall(run, name)


def _can(run: Run, user: str, what: str, namespace: str = "default") -> bool:
    """What the API server's authorizer says of a user."""
    verb, _, resource = what.partition(" ")
    resource, _, subresource = resource.partition("/")
    group = "karpenter.sh" if resource in {"nodeclaims", "nodepools"} else "kaito.sh"
    attributes = {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "namespace": "" if group == "karpenter.sh" else namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = run("kubectl", "create", "-o", "json", "-f", "-", told=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])
