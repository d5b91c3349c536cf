"""Kubelets for machines that have none: pods that a scheduler has placed run at once, those of Jobs
succeed after a moment, and those that shall go are gone. Nodes keep their heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from kube.client import Client
from kube.errors import ConflictError, NotFoundError
from kube.meta import Manifest, Resource
from kube.objects import NODES, Unstructured

PODS: Resource[Unstructured] = Resource("", "v1", "Pod", "pods", Unstructured)
"""Whole, since a kubelet runs all of their containers."""
PERIOD = 0.25
HEARTBEATS = 20
"""Rounds from one heartbeat to the next; the node lifecycle controller waits 30 s for one."""


@asynccontextmanager
async def kubelets(client: Client) -> AsyncIterator[set[str]]:
    """Of all nodes, while the block runs. Names of pods in the set come to no end of their own."""
    lingering: set[str] = set()
    running = asyncio.create_task(_run(client, lingering))
    try:
        yield lingering
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _run(client: Client, lingering: set[str]) -> None:
    rounds = 0
    while True:
        if rounds % HEARTBEATS == 0:
            for node in (await client.list(NODES)).items:
                up = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
                beat = {**up, "message": "", "lastHeartbeatTime": _now()}
                with suppress(NotFoundError):
                    await client.patch(
                        NODES,
                        node.metadata.name,
                        {"status": {"conditions": [beat]}},
                        subresource="status",
                    )
        rounds += 1
        for pod in (await client.list(PODS)).items:
            if pod.spec.get("nodeName"):
                with suppress(NotFoundError, ConflictError):
                    await _attend(client, pod, lingering)
        await asyncio.sleep(PERIOD)


async def _attend(client: Client, pod: Unstructured, lingering: set[str]) -> None:
    meta = pod.metadata
    if meta.deletion_timestamp is not None:
        if meta.name not in lingering:
            await client.delete(
                PODS, meta.name, namespace=meta.namespace, grace_period_seconds=0, uid=meta.uid
            )
    elif pod.status.get("phase") == "Pending":
        await _write(client, pod, _running(pod))
    elif pod.status.get("phase") == "Running" and _ends(pod) and meta.name not in lingering:
        await _write(client, pod, _succeeded(pod))


def _ends(pod: Unstructured) -> bool:
    """Those of Jobs, and those that bring adapters or measure."""
    owners = {each.kind for each in pod.metadata.owner_references}
    started = pod.metadata.creation_timestamp
    age = (datetime.now(UTC) - started).total_seconds() if started else 0.0
    return bool(owners & {"Job", "Workspace"}) and age > 3.0


async def _write(client: Client, pod: Unstructured, status: Manifest) -> None:
    await client.patch(
        PODS,
        pod.metadata.name,
        {"status": status},
        namespace=pod.metadata.namespace,
        subresource="status",
    )


def _running(pod: Unstructured) -> Manifest:
    running = {"running": {"startedAt": _now()}}
    containers = [_container(each["name"], running, ready=True) for each in pod.spec["containers"]]
    return {
        "phase": "Running",
        "podIP": "10.244.1.7",
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": _now()}
            for kind in ("Initialized", "ContainersReady", "Ready")
        ],
        "containerStatuses": containers,
    }


def _succeeded(pod: Unstructured) -> Manifest:
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": _now()}}
    containers = [_container(each["name"], ended, ready=False) for each in pod.spec["containers"]]
    return {
        "phase": "Succeeded",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": _now()}],
        "containerStatuses": containers,
    }


def _container(name: str, state: Manifest, *, ready: bool) -> Manifest:
    described = {"name": name, "image": "i", "imageID": "", "restartCount": 0}
    return {**described, "ready": ready, "state": state}


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
