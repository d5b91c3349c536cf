"""Those who make pods of a StatefulSet, find them a place and start them, played on a real API
server, which has none of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from workspace_cluster import Cluster

from kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from kube.meta import Manifest
from kube.objects import PODS, SERVICES, Pod
from workspace_controller.informers import STATEFUL_SETS
from workspace_controller.workspace.rollout import is_ready

_PAUSE_SECONDS = 0.05
_MEMBER = re.compile(r"falcon-\d+")


@dataclass
class PodsAtWork:
    """The pods of one StatefulSet. There is `room` for so many; `good` says of a pod's arguments
    whether its engine comes up. `unserved` counts the moments in which the pod that the Service
    selects is not ready, once it has been."""

    cluster: Cluster
    room: int = 2
    good: Callable[[list[str]], bool] = lambda arguments: True
    unserved: int = 0
    served: bool = False
    made: list[str] = field(default_factory=list)
    """The pods in the order of their creation."""

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[PodsAtWork]:
        await self.cluster.allow_pods()
        task = asyncio.create_task(self._work())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def pods(self) -> dict[str, Pod]:
        found = (await self.cluster.client.list(PODS, namespace=self.cluster.namespace)).items
        members = (pod for pod in found if _MEMBER.fullmatch(pod.metadata.name))
        return {
            pod.metadata.name: pod for pod in sorted(members, key=lambda each: each.metadata.name)
        }

    async def _work(self) -> None:
        while True:
            with suppress(NotFoundError, ConflictError):
                await self._round()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _round(self) -> None:
        found = await self.cluster.client.get(STATEFUL_SETS, "falcon", self.cluster.namespace)
        if found is None:
            return
        pods = await self.pods()
        await self._count(pods)
        replicas = found.spec["replicas"]
        wanted = [f"falcon-{ordinal}" for ordinal in range(replicas)]
        for name, pod in pods.items():
            if name not in wanted or pod.metadata.deletion_timestamp is not None:
                await self._end(name)
        for name in wanted:
            if name not in pods:
                await self._make(name, found.spec["template"])
        for pod in pods.values():
            await self._start(pod, pods)
        ready = sum(is_ready(pod) for name, pod in pods.items() if name in wanted)
        status = {
            "replicas": len(pods),
            "readyReplicas": ready,
            "observedGeneration": found.metadata.generation,
        }
        await self._status(STATEFUL_SETS, "falcon", status)

    async def _make(self, name: str, template: Manifest) -> None:
        metadata = template["metadata"]
        arguments = template["spec"]["containers"][0].get("args", [])
        with suppress(AlreadyExistsError):
            await self.cluster.client.create(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": name,
                        "namespace": self.cluster.namespace,
                        "labels": {**metadata["labels"], "pod-name": name},
                        "annotations": {
                            **metadata.get("annotations", {}),
                            "good": str(self.good(arguments)),
                        },
                    },
                    "spec": {"containers": [{"name": "falcon", "image": "i"}]},
                }
            )
            self.made.append(name)

    async def _start(self, pod: Pod, pods: dict[str, Pod]) -> None:
        """A step further: a place, then ready or failing. What takes time has taken it."""
        if pod.metadata.deletion_timestamp is not None or is_ready(pod):
            return
        name = pod.metadata.name
        if not pod.spec.node_name:
            placed = sum(bool(each.spec.node_name) for each in pods.values())
            if placed >= self.room:
                why = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu"
                told = _told("PodScheduled", "False", "Unschedulable", why)
                await self._status(PODS, name, {"conditions": [told]})
            elif all(each.spec.node_name for other, each in pods.items() if other < name):
                await self.cluster.client.post(
                    PODS, name, "binding", _binding(name), namespace=self.cluster.namespace
                )
            return
        if pod.metadata.annotations["good"] == "True":
            container: Manifest = {"ready": True, "state": {"running": {}}}
        else:
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting"}
            container = {"ready": False, "state": {"waiting": waiting}}
        described = {"name": "falcon", "image": "i", "imageID": "", "restartCount": 0}
        ready = _told("Ready", "True" if container["ready"] else "False")
        status = {
            "phase": "Running",
            "conditions": [_told("PodScheduled", "True"), ready],
            "containerStatuses": [{**described, **container}],
        }
        await self._status(PODS, name, status)

    async def _count(self, pods: dict[str, Pod]) -> None:
        service = await self.cluster.client.get(SERVICES, "falcon", self.cluster.namespace)
        selector = {} if service is None else service.spec["selector"]
        pod = pods.get(selector.get("statefulset.kubernetes.io/pod-name", ""))
        if is_ready(pod):
            self.served = True
        elif self.served:
            self.unserved += 1

    async def _end(self, name: str) -> None:
        await self.cluster.client.delete(
            PODS, name, namespace=self.cluster.namespace, grace_period_seconds=0
        )

    async def _status(self, resource: Any, name: str, status: Manifest) -> None:
        await self.cluster.client.patch(
            resource,
            name,
            {"status": status},
            namespace=self.cluster.namespace,
            subresource="status",
        )


def _binding(name: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "machine"},
    }


def _told(kind: str, status: str, reason: str = "", message: str = "") -> Manifest:
    since = datetime.now(UTC) - timedelta(minutes=1)
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": f"{since:%Y-%m-%dT%H:%M:%SZ}",
    }
