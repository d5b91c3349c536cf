"""What kubelets do, for Nodes that have no machine: they come up, run pods and let them go."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from kube.client import Client
from kube.errors import ConflictError, NotFoundError
from kube.meta import Manifest
from kube.objects import NODES, PODS, Node, Pod

_PAUSE_SECONDS = 0.2
_SINCE = "2026-11-21T12:00:00Z"


def _true(kind: str, reason: str) -> Manifest:
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": "",
        "lastTransitionTime": _SINCE,
        "lastHeartbeatTime": _SINCE,
    }


class HollowKubelets:
    """Of every Node there is. The GPUs are there from the start, since Karpenter writes them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self) -> None:
        while True:
            with suppress(NotFoundError, ConflictError):
                for node in (await self._client.list(NODES)).items:
                    if not node.ready:
                        await self._come_up(node)
                for pod in (await self._client.list(PODS)).items:
                    await self._attend(pod)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _come_up(self, node: Node) -> None:
        status = {
            "phase": "Running",
            "capacity": node.status.allocatable,
            "conditions": [_true("Ready", "KubeletReady")],
        }
        await self._client.patch(
            NODES, node.metadata.name, {"status": status}, subresource="status"
        )

    async def _attend(self, pod: Pod) -> None:
        name, namespace = pod.metadata.name, pod.metadata.namespace
        if not pod.spec.node_name:
            return
        if pod.metadata.deletion_timestamp is not None:
            await self._client.delete(PODS, name, namespace=namespace, grace_period_seconds=0)
        elif pod.status.phase == "Pending":
            status = {
                "phase": "Running",
                "conditions": [_true("Ready", ""), _true("PodScheduled", "")],
            }
            await self._client.patch(
                PODS, name, {"status": status}, namespace=namespace, subresource="status"
            )
