"""The Nodes of emulated pools, for clusters that have an API server and no machines."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import cloudproviders
from kube.client import Client
from kube.errors import AlreadyExistsError
from kube.meta import Manifest
from kube.objects import NODES
from tests.fakes.gke.gke import Machine


class Kubelets:
    """Plays the kubelet of every machine: `Gke(on_ready=kubelets.join, on_gone=kubelets.leave)`.

    `joined` says when each pool's came.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.joined: dict[str, datetime] = {}

    async def join(self, machine: Machine) -> None:
        """The Node is there and Ready, with the labels and taints of its pool and of GKE."""
        node = manifest(machine)
        with suppress(AlreadyExistsError):
            await self._client.create({**node, "spec": {"taints": machine.taints}})
        await self._client.patch(
            NODES, machine.name, {"status": node["status"]}, subresource="status"
        )
        # The node lifecycle controller's part: the API server taints new Nodes not-ready. Only
        # with its provider id is the Node anybody's.
        await self._client.patch(NODES, machine.name, {"spec": node["spec"]})
        self.joined[machine.pool] = datetime.now(UTC)

    async def leave(self, machine: Machine) -> None:
        node = await self._client.get(NODES, machine.name)
        if node is not None and node.metadata.deletion_timestamp is None:
            await self._client.delete(NODES, machine.name, uid=node.metadata.uid)


def manifest(machine: Machine) -> Manifest:
    """The Node with its status."""
    known = cloudproviders.instance_types("gcp").get(machine.machine_type)
    resources = dict(known.capacity) if known else {"cpu": "4", "memory": "16Gi", "pods": "110"}
    if machine.gpus:
        resources["nvidia.com/gpu"] = str(machine.gpus)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": machine.name, "labels": machine.labels},
        "spec": {"providerID": machine.provider_id, "taints": machine.taints},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{**ready, "lastTransitionTime": now, "lastHeartbeatTime": now}],
        },
    }
