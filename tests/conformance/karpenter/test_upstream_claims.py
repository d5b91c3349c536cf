"""The other way round: what KAITO's Go controllers write, served by our gpu-provisioner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.aws.nodeclass import EC2_NODE_CLASSES
from cloudproviders.azure.nodeclass import AKS_NODE_CLASSES
from kube import config
from kube.client import Client
from kube.errors import InvalidError, NotFoundError
from kube.meta import Manifest
from kube.objects import NODES, Node
from tests.conformance.karpenter.programs import eventually, program
from tests.fakes.arm import nodes as arm_nodes
from tests.fakes.arm.__main__ import settings as arm_settings
from tests.fakes.arm.aks import Aks
from tests.fakes.arm.server import ArmServer
from tests.fakes.aws import backend
from tests.fakes.aws.cluster import Kubelets
from tests.fakes.aws.emulator import Emulator
from workspace_controller.manifests.nodepool import POOLS

pytestmark = pytest.mark.integration

MANIFESTS = Path(__file__).parents[2] / "manifests/upstream-claims"
TYPE = "node.kubernetes.io/instance-type"
STAGES = ("Launched", "Registered", "Initialized", "Ready")
AKS_CLASSES = "KaitoNodeClass.kaito.sh,AKSNodeClass.karpenter.azure.com"


OPERATORS_CLASS: Manifest = {
    "apiVersion": "karpenter.k8s.aws/v1",
    "kind": "EC2NodeClass",
    "metadata": {"name": "default"},
    "spec": {
        "instanceProfile": "nodes",
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "subnetSelectorTerms": [{"tags": {"karpenter.sh/discovery": "conformance"}}],
        "securityGroupSelectorTerms": [{"tags": {"karpenter.sh/discovery": "conformance"}}],
    },
}
"""What the claims of `CLOUD_PROVIDER=aws` refer to, and KAITO does not make."""


def recorded(name: str) -> Manifest:
    found: Manifest = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
    return found


@dataclass(frozen=True)
class Reader:
    """The Go controller: it creates, reads and deletes, and looks at nothing but this."""

    client: Client

    async def create(self, manifest: Manifest) -> None:
        kinds = {"NodeClaim": NODE_CLAIMS, "NodePool": POOLS}
        resource = kinds.get(manifest["kind"])
        if resource is None:
            await self.client.apply({key: manifest[key] for key in manifest if key != "status"})
            return
        await self.client.create(manifest)

    async def class_ready(self, name: str) -> None:
        async def is_ready() -> None:
            found = await self.client.get(EC2_NODE_CLASSES, name)
            assert found is not None
            said = {each.type: each.status for each in found.status.conditions}
            assert said.get("Ready") == "True", found.status

        await eventually(is_ready)

    async def claims(self, labels: Mapping[str, str]) -> list[NodeClaim]:
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return (await self.client.list(NODE_CLAIMS, labels=selector)).items

    async def ready(self, labels: Mapping[str, str], number: int = 1) -> list[NodeClaim]:
        """Its claims by label, once as many as that are ready in its sense."""

        async def are_ready() -> list[NodeClaim]:
            found = await self.claims(labels)
            assert len(found) == number
            for claim in found:
                for stage in STAGES:
                    assert claim.is_true(stage), claim.status
                assert claim.status.node_name
                assert claim.status.provider_id
            return found

        return await eventually(are_ready)

    async def node(self, claim: NodeClaim, labels: Mapping[str, str]) -> Node:
        """The claim's node, which it waits for and puts its pods on."""
        node = await self.client.get(NODES, claim.status.node_name)
        assert node is not None
        assert node.ready
        (type_,) = (each.values[0] for each in claim.spec.requirements if each.key == TYPE)
        assert labels.items() <= node.metadata.labels.items()
        assert node.metadata.labels[TYPE] == type_
        assert int(node.status.allocatable["nvidia.com/gpu"]) > 0
        assert [(each.key, each.value, each.effect) for each in node.spec.taints] == [
            ("sku", "gpu", "NoSchedule")
        ]
        return node

    async def gone(self) -> None:
        async def is_gone() -> None:
            left = [*(await self.client.list(NODE_CLAIMS)).items]
            names = [each.metadata.name for each in left]
            names += [each.metadata.name for each in (await self.client.list(NODES)).items]
            assert names == []

        await eventually(is_gone, 60.0)


@pytest.fixture
async def go(plain: Path) -> AsyncIterator[Reader]:
    endpoint = config.kubeconfig(str(plain))
    kinds = (NODE_CLAIMS, POOLS, AKS_NODE_CLASSES, EC2_NODE_CLASSES)
    async with Client(endpoint, field_manager="workspace", kinds=kinds) as c:
        yield Reader(c)
        for kind in (POOLS, NODE_CLAIMS, NODES):  # of a test that has failed
            for each in (await c.list(kind)).items:
                with suppress(NotFoundError):
                    await c.delete(kind, each.metadata.name)
                    free = {"metadata": {"finalizers": None}}
                    await c.patch(kind, each.metadata.name, free)


@asynccontextmanager
async def provisioner(kubeconfig: Path, log: Path, **environment: str) -> AsyncIterator[None]:
    async with program("gpu_provisioner", environment, kubeconfig, log):
        yield


def owned(manifest: Manifest) -> dict[str, str]:
    """By which it finds its claims and its nodes: the reserved ones, and the user's own."""
    labels: dict[str, str] = manifest["metadata"]["labels"]
    return labels


async def test_claims_and_a_pool_of_kaito_on_azure(go: Reader, plain: Path, tmp_path: Path) -> None:
    kubelets = arm_nodes.Kubelets(go.client)
    aks = Aks(
        create_seconds=0.5, delete_seconds=0.1, on_ready=kubelets.join, on_gone=kubelets.leave
    )
    workspace, engine = recorded("azure-workspace"), recorded("azure-ragengine")
    pool = recorded("azure-nodepool")
    async with ArmServer(aks) as arm:
        told = {"CLOUD_PROVIDER": "azure", "NODE_CLASSES": AKS_CLASSES, **arm_settings(arm)}
        async with provisioner(plain, tmp_path / "azure.log", **told):
            await go.create(recorded("azure-nodeclass"))
            for manifest in (workspace, engine, pool):
                await go.create(manifest)

            for manifest in (workspace, engine):
                (claim,) = await go.ready(owned(manifest))
                await go.node(claim, owned(manifest))
            of_pool = {"karpenter.sh/nodepool": pool["metadata"]["name"]}
            labels = {**of_pool, **pool["spec"]["template"]["metadata"]["labels"]}
            for claim in await go.ready(of_pool, 2):
                await go.node(claim, labels)
            disks = {each.properties["osDiskSizeGB"] for each in aks.pools.values()}
            assert disks == {128, 1024, 300}, "storage, KAITO's guess, and the node class"

            await go.client.delete(POOLS, pool["metadata"]["name"])
            for manifest in (workspace, engine):
                await go.client.delete(NODE_CLAIMS, manifest["metadata"]["name"])
            await go.gone()
    assert aks.pools == {}


async def test_a_claim_of_kaito_on_aws(go: Reader, plain: Path, tmp_path: Path) -> None:
    manifest = recorded("aws-workspace")
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator())
        await emulator.prepare("conformance")
        await stack.enter_async_context(Kubelets(emulator, go.client))
        told = {
            "CLOUD_PROVIDER": "aws",
            "AWS_ENDPOINT_URL": emulator.url,
            "AWS_REGION": backend.REGION,
            "AWS_CLUSTER_NAME": "conformance",
            "AWS_INSTANCE_PROFILE": "nodes",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        await stack.enter_async_context(provisioner(plain, tmp_path / "aws.log", **told))
        await go.create(OPERATORS_CLASS)
        await go.class_ready("default")
        await go.create(manifest)
        (claim,) = await go.ready(owned(manifest))
        await go.node(claim, owned(manifest))
        await go.client.delete(NODE_CLAIMS, claim.metadata.name)
        await go.gone()
        assert await emulator.machines() == []


async def test_a_claim_of_kaito_on_kwok(go: Reader, plain: Path, tmp_path: Path) -> None:
    """Whatever its node class: the label says that it is KAITO\'s. Only its type is another."""
    manifest = recorded("azure-workspace")
    for each in manifest["spec"]["requirements"]:
        if each["key"] == TYPE:
            each["values"] = ["kwok-a100-1"]
    kept = [each for each in manifest["spec"]["requirements"] if "azure" not in each["key"]]
    manifest["spec"]["requirements"] = kept
    async with provisioner(plain, tmp_path / "kwok.log", CLOUD_PROVIDER="kwok"):
        await go.create(manifest)
        (claim,) = await go.ready(owned(manifest))
        node = await go.node(claim, owned(manifest))
        assert node.metadata.labels["karpenter.sh/capacity-type"] == "on-demand"
        await go.client.delete(NODE_CLAIMS, claim.metadata.name)
        await go.gone()


async def test_a_claim_without_a_node_class_is_refused(go: Reader) -> None:
    with pytest.raises(InvalidError, match="may not be empty"):
        await go.create(recorded("other-workspace"))
