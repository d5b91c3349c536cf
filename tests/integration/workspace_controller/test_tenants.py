"""Namespaces that may not have everything: quotas, who reaches an endpoint, and by which key."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from ragengine_cluster import RagCluster
from said import told
from webhooks_at_work import webhooks
from workspace_cluster import NAMESPACES, Cluster, eventually

from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from kube import config
from kube.client import Client
from kube.errors import ForbiddenError, InvalidError
from kube.meta import Manifest, Resource
from kube.objects import NETWORK_POLICIES, RESOURCE_QUOTAS, SECRETS, Unstructured
from kube.store import Store
from tests import builders
from workspace_controller import tenancy
from workspace_controller.quota import TenantStores
from workspace_controller.quotaadmission import QuotaAdmission
from workspace_controller.settings import Settings
from workspace_controller.webhooks import Admission
from workspace_controller.workspace import apikeys

EXAMPLE = Path(__file__).parents[3] / "examples" / "tenants.yaml"
ROLE_BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", Unstructured
)
GATEWAY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Secret is looked for again at once, and no node waits long for pods that can never be."""
    monkeypatch.setattr(apikeys, "_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(tenancy, "_SHORT_GRACE", timedelta(seconds=1))


async def may_have(cluster: Cluster, gpus: str | None) -> None:
    """What the namespace's administrator says."""
    said = {"metadata": {"annotations": {"kaito.sh/gpu-quota": gpus}}}
    await cluster.client.patch(NAMESPACES, cluster.namespace, said)


async def resource_quota(cluster: Cluster, **hard: str) -> None:
    """A quota, and what its controller says of it; `requests.nvidia.com/gpu` as gpu."""
    names = {"gpu": "requests.nvidia.com/gpu", "limits": "limits.cpu"}
    allowed = {names.get(name, name): amount for name, amount in hard.items()}
    used = dict.fromkeys(allowed, "0")
    metadata = {"name": "gpus", "namespace": cluster.namespace}
    manifest: Manifest = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata}
    if await cluster.client.get(RESOURCE_QUOTAS, "gpus", cluster.namespace) is None:
        await cluster.client.create({**manifest, "spec": {"hard": allowed}})
    for patch, part in (
        ({"spec": {"hard": allowed}}, ""),
        ({"status": {"hard": allowed}}, "status"),
    ):
        if part:
            patch["status"]["used"] = used
        await cluster.client.patch(
            RESOURCE_QUOTAS, "gpus", patch, namespace=cluster.namespace, subresource=part
        )


async def policy(cluster: Cluster, name: str) -> Unstructured | None:
    return await cluster.client.get(NETWORK_POLICIES, name, cluster.namespace)


def with_endpoints(*beside: Manifest) -> Settings:
    return dataclasses.replace(builders.settings(), endpoint_peers=beside)


async def test_the_eldest_has_the_gpus_and_the_next_goes_on_once_they_are_freed(cluster: Cluster):
    """As admission lets in two at once, whose caches did not show the other."""
    await may_have(cluster, "1")
    await cluster.create_workspace(name="eagle")
    await cluster.create_workspace(name="falcon")
    async with cluster.controller() as process:
        words = f'namespace "{cluster.namespace}" may have 1 GPU (annotation kaito.sh/gpu-quota)'
        workspace = await told(
            cluster,
            "ResourceReady",
            "False",
            "GPUQuotaExceeded",
            words=words,
            stage="WaitingForQuota",
        )
        said = workspace.condition("NodeClaimReady")
        assert said.reason == "GPUQuotaExceeded"
        assert "1 are used (Workspace eagle 1), and 1 more are asked for" in said.message
        assert (
            f"kubectl annotate namespace {cluster.namespace} kaito.sh/gpu-quota=2" in said.message
        )
        assert ("Warning", "GPUQuotaExceeded") in process.events.told
        await eventually(lambda: cluster.claims("eagle"))
        assert len(await cluster.claims("eagle")) == 1
        assert await cluster.claims() == []
        await cluster.client.delete(WORKSPACES, "eagle", namespace=cluster.namespace)
        await cluster.one_claim()


async def test_a_quota_that_is_lowered_kills_nobody_and_one_that_is_none_is_told(cluster: Cluster):
    await cluster.create_workspace(name="eagle")
    async with cluster.controller() as process:
        await eventually(lambda: cluster.claims("eagle"))
        await may_have(cluster, "0")
        await cluster.create_workspace()
        await told(cluster, "ResourceReady", "False", "GPUQuotaExceeded")
        await may_have(cluster, "plenty")
        await told(
            cluster,
            "ResourceReady",
            "False",
            "InvalidGPUQuota",
            words='"plenty", which is no whole',
        )
        assert await cluster.claims() == []
        await may_have(cluster, "2")
        await cluster.one_claim()
        await process.quiet()
        assert len(await cluster.claims("eagle")) == 1


async def test_workspaces_and_engines_have_one_quota(rag: RagCluster) -> None:
    settings = dataclasses.replace(builders.settings(), gpu_quota=1)
    await rag.create_workspace()
    async with rag.both(settings):
        await rag.one_claim()
        compute = {"instanceType": "local-gpu-1", "labelSelector": {"matchLabels": {"a": "b"}}}
        await rag.create_engine(compute=compute)
        await rag.told(
            "ResourceReady", "False", "ragengineResourceStatusFailed", "GPUQuotaExceeded: namespace"
        )
        assert await rag.engine_claims() == []
        await rag.client.delete(WORKSPACES, "falcon", namespace=rag.namespace)
        await rag.engine_claim()


async def test_what_is_too_much_is_refused_before_it_is_stored(cluster: Cluster):
    await may_have(cluster, "2")
    settings = builders.settings()
    stores = TenantStores(settings.facts)
    judge = Admission(
        settings.facts, cluster.client, Store(), QuotaAdmission(cluster.client, stores)
    )

    async def asked() -> bool:
        try:
            await cluster.create_workspace(name="probe", preset="nonsense")
        except InvalidError:
            return True
        await cluster.client.delete(WORKSPACES, "probe", namespace=cluster.namespace)
        return False

    async with webhooks(cluster, judge, "workspaces", asked):
        await cluster.create_workspace(name="eagle", instance_type="local-gpu-2")
        stores.workspaces.put(await cluster.workspace("eagle"))
        with pytest.raises(InvalidError) as caught:
            await cluster.create_workspace()
        message = caught.value.message
        assert "2 are used (Workspace eagle 2), and 1 more are asked for" in message
        assert f"namespace {cluster.namespace} kaito.sh/gpu-quota=3 --overwrite" in message
        await may_have(cluster, "1.5")
        with pytest.raises(InvalidError, match=r'kaito\.sh/gpu-quota is "1\.5"'):
            await cluster.create_workspace()
        await cluster.create_workspace(name="gull", instance_type="local-cpu-2")
        await cluster.edit({"metadata": {"labels": {"a": "b"}}}, "eagle")


async def test_no_node_is_asked_for_where_a_resource_quota_admits_no_pod(cluster: Cluster):
    await resource_quota(cluster, gpu="0", pods="5")
    await cluster.create_workspace()
    async with cluster.controller() as process:
        words = 'ResourceQuota "gpus" of namespace'
        workspace = await told(
            cluster, "ResourceReady", "False", "ResourceQuotaExceeded", words=words
        )
        said = workspace.condition("ResourceReady").message
        assert "requests.nvidia.com/gpu: 0 of 0 are used, and 1 more are needed" in said
        await process.quiet()
        assert not any("NodeClaim" in each for each in process.writes)
        await resource_quota(cluster, gpu="1", pods="5")
        claim = await cluster.one_claim()
        await cluster.bring_up(claim)
        await eventually(cluster.stateful_set)
        # Taken back while the node is paid for: it goes soon, since it can never be used.
        await resource_quota(cluster, gpu="1", pods="5", limits="4")
        await told(
            cluster,
            "ResourceReady",
            "False",
            "ResourceQuotaExceeded",
            words="counts limits.cpu, of which the pods say nothing",
        )
        await eventually(lambda: cluster._count_claims(0))


async def test_pods_that_a_quota_refuses_are_told_by_its_name(cluster: Cluster):
    await cluster.create_workspace()
    async with cluster.controller():
        await cluster.bring_up(await cluster.one_claim())
        await eventually(cluster.stateful_set)
        await cluster.client.create(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "pods", "namespace": cluster.namespace},
                "spec": {"hard": {"pods": "3"}},
            }
        )
        full = {"status": {"hard": {"pods": "3"}, "used": {"pods": "3"}}}
        await cluster.client.patch(
            RESOURCE_QUOTAS, "pods", full, namespace=cluster.namespace, subresource="status"
        )
        words = 'ResourceQuota "pods" of namespace'
        await told(cluster, "InferenceReady", "False", "ResourceQuotaExceeded", words=words)
        assert len(await cluster.claims()) == 1
        free = {"status": {"used": {"pods": "2"}}}
        await cluster.client.patch(
            RESOURCE_QUOTAS, "pods", free, namespace=cluster.namespace, subresource="status"
        )
        await told(cluster, "InferenceReady", "False", "WorkspaceInferenceStatusPending")


async def test_an_endpoints_policy_comes_changes_and_goes(rag: RagCluster) -> None:
    await rag.create_workspace()
    await rag.create_engine()
    names = ("falcon-endpoint", "docs-endpoint")
    async with rag.both(with_endpoints()):
        for name in names:
            await eventually(lambda name=name: policy(rag, name))
        assert await rag.stateful_set() is None, "the policy is there before the pods"
    async with rag.both(with_endpoints(GATEWAY)):
        for name in names:

            async def lets_in(name: str = name) -> bool:
                found = await policy(rag, name)
                assert found is not None
                return found.spec["ingress"][0]["from"] == [{"podSelector": {}}, GATEWAY]

            await eventually(lets_in)
    async with rag.both():
        for name in names:

            async def gone(name: str = name) -> bool:
                return await policy(rag, name) is None

            await eventually(gone)


async def test_no_node_is_asked_for_before_there_is_a_key(rag: RagCluster) -> None:
    await rag.create_workspace(annotations={"kaito.sh/api-key-secret": "keys"})
    async with rag.controller() as process:
        words = f'there is no Secret "keys" in namespace "{rag.namespace}": kubectl'
        await told(rag, "ResourceReady", "False", "APIKeySecretNotFound", words=words)
        assert not any("NodeClaim" in each for each in process.writes)
        await rag.secret("keys", first="")
        await told(rag, "ResourceReady", "False", "APIKeySecretNotFound", words="holds no key")
        await rag.client.patch(
            SECRETS, "keys", {"stringData": {"first": "sk-1"}}, namespace=rag.namespace
        )
        await rag.one_claim()


@pytest.fixture
async def administrator(installed: Path) -> AsyncIterator[Client]:
    endpoint = config.kubeconfig(str(installed))
    kinds = (WORKSPACES, RAG_ENGINES, ROLE_BINDINGS)
    async with Client(endpoint, field_manager="kubectl", kinds=kinds) as client:
        yield client


async def test_the_example_holds(administrator: Client) -> None:
    for manifest in yaml.safe_load_all(EXAMPLE.read_text()):
        await administrator.create(manifest)
    hard = {"count/workspaces.kaito.sh": "1"}
    status = {"status": {"hard": hard, "used": hard}}
    await administrator.patch(
        RESOURCE_QUOTAS, "team-a", status, namespace="team-a", subresource="status"
    )
    another = builders.a_workspace_manifest()
    another["metadata"]["namespace"] = "team-a"
    with pytest.raises(ForbiddenError, match="exceeded quota: team-a"):
        await administrator.create(another)
    await administrator.delete(WORKSPACES, "assistant", namespace="team-a")
    await administrator.delete(RAG_ENGINES, "docs", namespace="team-a")
