"""The Nodes of emulated pools, for clusters that have an API server and no machines."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

import cloudproviders
from kube.client import Client
from kube.errors import AlreadyExistsError
from kube.meta import Manifest
from kube.objects import NODES
from tests.fakes.arm.aks import Pool


class Kubelets:
    """Plays kubelet and cloud controller manager for every pool: `Aks(on_ready=kubelets.join,
    on_gone=kubelets.leave)`. `joined` says when each came, in seconds of the epoch."""

    def __init__(self, client: Client, cloud: str = "azure") -> None:
        self._client = client
        self._types = cloudproviders.instance_types(cloud)
        self.joined: dict[str, float] = {}

    async def join(self, pool: Pool) -> None:
        """The Node is there and Ready, with the labels and taints of its pool and of AKS."""
        size = self._types.get(pool.properties["vmSize"])
        node = manifest(pool, size.capacity if size else {})
        status, spec = node.pop("status"), node["spec"]
        with suppress(AlreadyExistsError):
            await self._client.create(node)
        await self._client.patch(NODES, pool.node_name, {"status": status}, subresource="status")
        # The node lifecycle controller's part: the API server taints new Nodes not-ready.
        await self._client.patch(NODES, pool.node_name, {"spec": {"taints": spec["taints"]}})
        self.joined[pool.name] = datetime.now(UTC).timestamp()

    async def leave(self, pool: Pool) -> None:
        node = await self._client.get(NODES, pool.node_name)
        if node is not None and node.metadata.deletion_timestamp is None:
            await self._client.delete(NODES, pool.node_name, uid=node.metadata.uid)


def manifest(pool: Pool, resources: Mapping[str, str]) -> Manifest:
    """The Node of a pool's machine, with what AKS adds of its own."""
    properties = pool.properties
    zones = properties.get("availabilityZones") or []
    spot = properties.get("scaleSetPriority") == "Spot"
    taints = [_taint(each) for each in properties.get("nodeTaints") or []]
    taints += [_taint(each) for each in properties.get("nodeInitializationTaints") or []]
    labels = {
        **(properties.get("nodeLabels") or {}),
        "agentpool": pool.name,
        "kubernetes.azure.com/agentpool": pool.name,
        "node.kubernetes.io/instance-type": properties["vmSize"],
        "kubernetes.io/hostname": pool.node_name,
        "topology.kubernetes.io/zone": f"emulator-{zones[0]}" if zones else "0",
    }
    if spot:  # AKS's own doing
        labels["kubernetes.azure.com/scalesetpriority"] = "spot"
        taints.append(_taint("kubernetes.azure.com/scalesetpriority=spot:NoSchedule"))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": pool.node_name, "labels": labels},
        "spec": {"providerID": pool.provider_id, "taints": taints},
        "status": {
            "capacity": dict(resources),
            "allocatable": dict(resources),
            "conditions": [{**ready, "lastTransitionTime": now, "lastHeartbeatTime": now}],
        },
    }


def _taint(text: str) -> Manifest:
    """`key=value:effect` as pools have it."""
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    return {"key": key, "value": value, "effect": effect}
