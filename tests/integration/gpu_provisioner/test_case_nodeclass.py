"""Node classes on the real API server: their CRDs, their status, and how they are held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from apis.definitions import NODE_CLASSES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.nodeclass import NodeClass, NodeClassCondition
from cloudproviders.provider import GroupKind
from kube import config
from kube.client import Client
from kube.crd import Definition
from kube.errors import InvalidError, NotFoundError
from kube.informer import Informer
from kube.meta import Manifest, Resource
from kube.objects import Unstructured
from tests.fakes.pools import AKS, AKS_REF
from tests.integration.gpu_provisioner.pool_cluster import (
    WHOLE_AKS,
    BootingPooledCloud,
    PoolCluster,
    crd,
)
from tests.integration.gpu_provisioner.world import KINDS, Cluster, eventually

HASH = "karpenter.azure.com/aksnodeclass-hash"
FINALIZER = "karpenter.azure.com/termination"


@pytest.fixture
async def pools(cluster: Cluster) -> AsyncIterator[PoolCluster]:
    found = PoolCluster(cluster)
    await found.install_classes()
    yield found
    await found.uninstall(AKS)


async def _ready(pools: PoolCluster, status: str) -> NodeClass:
    async def is_said() -> NodeClass:
        found = await pools.node_class()
        said = {each.type: each.status for each in found.status.conditions}
        assert said.get("Ready") == status, said
        return found

    return await eventually(is_said)


async def test_a_class_is_judged_stamped_and_judged_anew_when_edited(pools: PoolCluster) -> None:
    cloud = BootingPooledCloud(pools.client)
    async with pools.cluster.provisioner(cloud):
        await pools.create_class()
        found = await _ready(pools, "True")
        assert found.metadata.finalizers == (FINALIZER,)
        assert HASH in found.metadata.annotations
        whole = await pools.client.get(WHOLE_AKS, "gpu")
        assert whole is not None
        assert whole.status["images"] == [{"id": "image-1"}], "fields of the cloud are kept"
        cloud.verdict = (NodeClassCondition("SubnetsReady", "False", "SubnetsNotFound", "none"),)
        await pools.client.patch(AKS, "gpu", {"spec": {"tags": {"a": "b"}}})
        found = await _ready(pools, "False")
        assert {each.observed_generation for each in found.status.conditions} == {2}


async def test_a_class_that_stays_as_it_is_is_not_written(pools: PoolCluster) -> None:
    cloud = BootingPooledCloud(pools.client)
    async with pools.cluster.provisioner(cloud):
        await pools.create_class()
        await _ready(pools, "True")
        await asyncio.sleep(0.2)
        version = (await pools.node_class()).metadata.resource_version
    async with pools.cluster.provisioner(cloud):  # which looks at everything
        await asyncio.sleep(0.5)
        assert (await pools.node_class()).metadata.resource_version == version


class ReadsOnly(BootingPooledCloud):
    """Knows the kind, and leaves it to a Karpenter beside us."""

    node_classes = (GroupKind("kaito.sh", "KaitoNodeClass"),)


async def test_a_class_that_another_provisioner_serves_is_not_written(pools: PoolCluster) -> None:
    await pools.create_class()
    before = await pools.node_class()
    async with pools.cluster.provisioner(ReadsOnly(pools.client)):
        await pools.cluster.create_claim("ws1")
        await pools.cluster.ready("ws1")
    assert await pools.node_class() == before


async def test_a_class_is_held_while_claims_refer_to_it(pools: PoolCluster) -> None:
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client)):
        await pools.create_class()
        await _ready(pools, "True")
        await pools.cluster.create_claim("ws1", node_class_ref=AKS_REF)
        await pools.cluster.ready("ws1")
        await pools.client.delete(AKS, "gpu")

        async def is_told() -> None:
            assert "WaitingOnNodeClaims" in pools.cluster.events.reasons()

        await eventually(is_told)
        assert (await pools.node_class()).metadata.finalizers == (FINALIZER,)
        await pools.client.delete(NODE_CLAIMS, "ws1")
        await pools.cluster.gone("ws1")

        async def is_gone() -> None:
            assert await pools.client.get(AKS, "gpu") is None

        await eventually(is_gone)


async def test_a_kind_that_is_not_installed_is_nobodys_trouble(cluster: Cluster) -> None:
    """No class, no pool of it; other claims live as ever. Installed later, it is seen."""
    pools = PoolCluster(cluster)
    with suppress(NotFoundError):
        await pools.uninstall(AKS)
    cloud = BootingPooledCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")


async def test_an_optional_kind_comes_and_goes(cluster: Cluster) -> None:
    pools = PoolCluster(cluster)
    with suppress(NotFoundError):
        await pools.uninstall(AKS)
    informer = Informer(cluster.client, AKS, retry=(0.05, 0.05), optional=True)
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.synced.wait(), 5)
        assert not informer.served
        assert informer.store.list() == []
        for _ in range(2):
            await pools.install_classes()
            await pools.create_class()
            await eventually(lambda: _holds(informer.served and "gpu" in _names(informer)))
            await pools.uninstall(AKS)
            await eventually(lambda: _holds(not informer.served and _names(informer) == []))
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _names(informer: Informer[NodeClass]) -> list[str]:
    return [each.metadata.name for each in informer.store.list()]


async def _holds(truth: bool) -> None:
    assert truth


def _resource(definition: Definition) -> Resource[Unstructured]:
    version = definition.versions[0].name
    return Resource(
        definition.group, version, definition.kind, definition.plural, Unstructured, False
    )


UPSTREAM: dict[str, Manifest] = {
    "AKSNodeClass": {
        "imageFamily": "AzureLinux",
        "osDiskSizeGB": 256,
        "gpu": {"mode": "None"},
        "vnetSubnetID": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network"
        "/virtualNetworks/v/subnets/n",
        "kubelet": {"cpuManagerPolicy": "static", "imageGCHighThresholdPercent": 80},
        "localDNS": {"mode": "Preferred"},
        "linuxOSConfig": {"swapFileSize": "2Gi"},
    },
    "EC2NodeClass": {
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "subnetSelectorTerms": [{"tags": {"karpenter.sh/discovery": "my-cluster"}}],
        "securityGroupSelectorTerms": [{"tags": {"karpenter.sh/discovery": "my-cluster"}}],
        "role": "KarpenterNodeRole-my-cluster",
        "blockDeviceMappings": [
            {"deviceName": "/dev/xvda", "ebs": {"volumeSize": "100Gi", "volumeType": "gp3"}}
        ],
        "cpuOptions": {"coreCount": 4},
    },
    "GCENodeClass": {
        "imageSelectorTerms": [{"alias": "ContainerOptimizedOS@latest"}],
        "serviceAccount": "nodes@project.iam.gserviceaccount.com",
        "disks": [{"sizeGiB": 200, "category": "pd-ssd", "boot": True}],
        "networkTags": ["gpu"],
        "someNewField": {"nested": [1, 2]},
    },
    "KaitoNodeClass": {},
}
"""As users of the clouds' own provisioners have them, with fields that we do not read."""

REFUSED: dict[str, list[Manifest]] = {
    "AKSNodeClass": [
        {"imageFamily": "Windows"},
        {"osDiskSizeGB": 29},
        {"maxPods": 251},
        {"gpu": {"mode": "Perhaps"}},
        {"tags": {"a<b": "c"}},
        {"vnetSubnetID": "my-subnet"},
    ],
    "EC2NodeClass": [
        {"role": None},
        {"instanceProfile": "p"},
        {"subnetSelectorTerms": []},
        {"subnetSelectorTerms": [{}]},
        {"subnetSelectorTerms": [{"id": "subnet-1", "tags": {"a": "b"}}]},
        {"amiSelectorTerms": [{"alias": "al2023"}]},
        {"amiSelectorTerms": [{"id": "ami-1"}]},
        {"tags": {"karpenter.sh/nodeclaim": "x"}},
        {"blockDeviceMappings": [{"ebs": {"volumeType": "gp3"}}]},
        {"metadataOptions": {"httpTokens": "sometimes"}},
    ],
    "GCENodeClass": [
        {"disks": [{"sizeGiB": 9}]},
        {"networkTags": ["GPU"]},
        {"serviceAccount": "me"},
        {"gpuDriverVersion": "newest"},
    ],
    "KaitoNodeClass": [],
}


@pytest.mark.parametrize("definition", NODE_CLASSES, ids=lambda each: each.kind)
async def test_manifests_that_users_have_apply_unchanged(
    cluster: Cluster, definition: Definition
) -> None:
    pools, resource = PoolCluster(cluster), _resource(definition)
    endpoint = config.kubeconfig(str(cluster.kubeconfig))
    async with Client(endpoint, field_manager="test", kinds=[resource, *KINDS]) as client:
        await client.apply(crd(f"{definition.group}_{definition.plural}"))
        try:
            await eventually(lambda: client.list(resource))
            spec = UPSTREAM[definition.kind]
            await client.create(_of(definition, "good", spec))
            stored = await client.get(resource, "good")
            assert stored is not None
            assert _within(spec, stored.spec), "nothing is pruned"
            for change in REFUSED[definition.kind]:
                wrong = {k: v for k, v in {**spec, **change}.items() if v is not None}
                with pytest.raises(InvalidError):
                    await client.create(_of(definition, "bad", wrong))
        finally:
            await pools.uninstall(resource)


def _within(part: Any, whole: Any) -> bool:
    """Whether all of the part is there, whatever the API server has filled in."""
    if isinstance(part, dict):
        return all(name in whole and _within(each, whole[name]) for name, each in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(_within, part, whole))
    return bool(part == whole)


def _of(definition: Definition, name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": f"{definition.group}/{definition.versions[0].name}",
        "kind": definition.kind,
        "metadata": {"name": name},
        "spec": spec,
    }
