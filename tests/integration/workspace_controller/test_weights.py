"""Every source of weights: the workload is taken by a real API server and then left alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from workspace_cluster import NAMESPACES, Cluster, condition, eventually

from apis.kaito.v1beta1.workspace import WORKSPACES
from kube import config
from kube.client import Client
from kube.errors import ForbiddenError
from kube.meta import Manifest, Resource
from kube.objects import NODES, PODS, Unstructured
from tests.builders import settings
from workspace_controller.settings import Settings, WeightsSettings

pytestmark = pytest.mark.integration

_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts", Unstructured)
KEY = "kaito.sh/model-weights"
SECRETS = "kaito.sh/model-weights-pull-secrets"
DIGEST = f"sha256:{'0a' * 32}"
IMAGE = f"oci://registry.example/models/small:v1@{DIGEST}/models"
PINNED = f"hf://example/fine@{'89ab' * 10}"
ABLE = {"kubeletVersion": "v1.35.2", "containerRuntimeVersion": "containerd://2.1.4"}
PULLED = {KEY: IMAGE, SECRETS: "one,two"}


def offering(*, nvme: bool = False, **weights: Any) -> Settings:
    found = settings()
    if nvme:
        found = replace(found, nodes=_WithNvme(found.nodes))
    return replace(found, weights=WeightsSettings(**weights))


class _WithNvme:
    """The same nodes, with NVMe disks."""

    def __init__(self, nodes: Any) -> None:
        self._nodes = nodes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nodes, name)

    def shape(self, *given: Any) -> Any:
        return replace(self._nodes.shape(*given), nvme=True)


CASES = [
    pytest.param({}, offering(), {}, "Hugging Face example/Small-1B, downloaded once", id="node"),
    pytest.param(
        {KEY: PINNED},
        offering(cache="pod"),
        {},
        "Hugging Face example/fine, downloaded by",
        id="pod",
    ),
    pytest.param(
        {}, offering(cache="nvme", nvme=True), {}, "downloaded to an NVMe disk", id="nvme"
    ),
    pytest.param(PULLED, offering(), ABLE, "image volume registry.example/", id="image volume"),
    pytest.param(PULLED, offering(), {}, "OCI artifact registry.example/", id="artifact"),
    pytest.param({KEY: "pvc://models/a/b"}, offering(), {}, "Claim models/a/b", id="claim"),
    pytest.param({KEY: "node://"}, offering(), {}, "directory /opt/kaito/models", id="on the node"),
]


@pytest.fixture(autouse=True)
async def service_account(installed: Path, cluster: Cluster) -> None:
    """What the controller manager makes in every namespace, and pods cannot do without."""
    endpoint = config.kubeconfig(str(installed))
    async with Client(endpoint, field_manager="tests", kinds=(_ACCOUNTS,)) as client:
        metadata = {"name": "default", "namespace": cluster.namespace}
        await client.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


@pytest.mark.parametrize(("annotations", "offered", "info", "said"), CASES)
async def test_a_source_is_taken_and_then_left_alone(
    cluster: Cluster, annotations: dict[str, str], offered: Settings, info: Manifest, said: str
) -> None:
    async with cluster.controller(offered) as process:
        await cluster.create_workspace(annotations=annotations)
        await _bring_up(cluster, info)
        await eventually(cluster.stateful_set)
        await _a_pod_of_it_is_taken(cluster)
        await cluster.serve()
        await eventually(cluster.succeeded)
        serving = (await cluster.workspace()).status.serving
        assert serving is not None
        assert said in serving.weights
        await asyncio.sleep(0.3)
        before = len(process.writes)
        await cluster.edit({"metadata": {"labels": {"touched": "yes"}}})
        await asyncio.sleep(0.3)
        assert process.writes[before:] == []


async def test_another_source_reaches_the_pods(cluster: Cluster) -> None:
    async with cluster.controller(offering()):
        await cluster.create_workspace()
        await _bring_up(cluster, {})
        await eventually(cluster.stateful_set)
        await cluster.edit({"metadata": {"annotations": {KEY: "pvc://models"}}})
        await eventually(lambda: _mounts(cluster, "model-weights"))


async def test_a_disk_stays_with_its_workload_when_the_installation_thinks_otherwise(
    cluster: Cluster,
) -> None:
    """Claim templates cannot change: neither is one added, nor the volume taken away."""
    async with cluster.controller(offering(cache="nvme", nvme=True)):
        await cluster.create_workspace()
        await _bring_up(cluster, {})
        await eventually(cluster.stateful_set)
    async with cluster.controller(offering(cache="pod")):
        await cluster.edit({"metadata": {"annotations": {KEY: PINNED}}})
        await eventually(lambda: _argument(cluster, "--repository=example/fine"))
        await eventually(lambda: _does_not_say(cluster, "last reconcile error"))
        found = await cluster.stateful_set()
        assert found is not None
        (template,) = found.spec["volumeClaimTemplates"]
        assert template["spec"]["storageClassName"] == "kaito-local-nvme-disk"
        await cluster.edit({"metadata": {"annotations": {KEY: "pvc://models"}}})
        await eventually(lambda: _mounts(cluster, "model-weights"))


@pytest.mark.parametrize("level", ["privileged", "baseline"])
async def test_pods_are_such_as_the_namespace_admits(cluster: Cluster, level: str) -> None:
    """Where Pod Security forbids host paths, weights are kept with the pod."""
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}
    await cluster.client.patch(NAMESPACES, cluster.namespace, labels)
    async with cluster.controller(offering()):
        await cluster.create_workspace()
        await _bring_up(cluster, {})
        await eventually(cluster.stateful_set)
        await _a_pod_of_it_is_taken(cluster)


async def test_without_the_look_at_the_namespace_its_pods_would_be_refused(
    cluster: Cluster,
) -> None:
    """What the test above rests on: the API server does enforce it."""
    async with cluster.controller(offering()):
        await cluster.create_workspace()
        await _bring_up(cluster, {})
        await eventually(cluster.stateful_set)
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    await cluster.client.patch(NAMESPACES, cluster.namespace, labels)
    with pytest.raises(ForbiddenError, match="hostPath"):
        await _a_pod_of_it_is_taken(cluster)


async def test_a_source_that_cannot_be_is_said_in_the_status(cluster: Cluster) -> None:
    async with cluster.controller(offering()):
        await cluster.create_workspace(annotations={KEY: "oci://registry.example/small:v1"})
        await eventually(lambda: _refused(cluster))
    message = (await cluster.workspace()).condition("ResourceReady").message
    assert "names no digest" in message
    assert "crane digest" in message


async def _bring_up(cluster: Cluster, info: Manifest) -> None:
    """A node whose kubelet told `info` when it registered, before it was ready."""
    claim = await cluster.one_claim()
    if not info:
        await cluster.bring_up(claim)
        return
    name = claim.metadata.name
    types = {each.key: each.values[0] for each in claim.spec.requirements if each.values}
    labels = {**claim.metadata.labels, **types, "karpenter.sh/registered": "true"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    await cluster.client.create(node)
    amounts = {"cpu": "4", "memory": "12Gi", "nvidia.com/gpu": "1"}
    up = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    status = {
        "nodeInfo": {**_UNTOLD, **info},
        "conditions": [up],
        "allocatable": amounts,
        "capacity": amounts,
    }
    await cluster.client.patch(NODES, name, {"status": status}, subresource="status")
    await cluster.set_claim(claim, {"nodeName": name}, "Launched", "Registered", "Initialized")


_UNTOLD = dict.fromkeys(
    (
        *("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "kubeProxyVersion"),
        *("operatingSystem", "architecture"),
    ),
    "",
)


async def _a_pod_of_it_is_taken(cluster: Cluster) -> None:
    """What the StatefulSet controller would do next, claims included."""
    found = await cluster.stateful_set()
    assert found is not None
    template = found.spec["template"]
    claims = found.spec.get("volumeClaimTemplates", [])
    volumes = [
        {"name": each["metadata"]["name"], "persistentVolumeClaim": {"claimName": "of-the-pod"}}
        for each in claims
    ]
    spec = {**template["spec"], "volumes": [*template["spec"]["volumes"], *volumes]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tried", "namespace": cluster.namespace},
        "spec": spec,
    }
    await cluster.client.create(pod)
    await cluster.client.delete(PODS, "tried", namespace=cluster.namespace)


async def _refused(cluster: Cluster) -> bool:
    return (await condition(cluster, "ResourceReady")) == ("False", "InvalidWeights")


async def _mounts(cluster: Cluster, volume: str) -> bool:
    found = await cluster.stateful_set()
    assert found is not None
    engine = found.spec["template"]["spec"]["containers"][0]
    return any(mount["name"] == volume for mount in engine["volumeMounts"])


async def _argument(cluster: Cluster, argument: str) -> bool:
    found = await cluster.stateful_set()
    assert found is not None
    (init,) = found.spec["template"]["spec"]["initContainers"]
    return argument in init["args"]


async def _does_not_say(cluster: Cluster, words: str) -> bool:
    found = await cluster.client.get(WORKSPACES, "falcon", cluster.namespace)
    assert found is not None
    return not any(words in each.message for each in found.status.conditions)
