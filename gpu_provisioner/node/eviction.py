"""Asks pods to leave, by the Eviction API; disruption budgets may refuse."""

from __future__ import annotations

from gpu_provisioner import events, metrics
from gpu_provisioner.node.drain import Forced
from kube.client import Client
from kube.errors import (
    ConflictError,
    KubeError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
)
from kube.meta import Manifest
from kube.objects import PODS, Pod


class Evictions:
    """Every call names the pod's uid: a new pod of the same name is another one."""

    def __init__(self, client: Client, recorder: events.Events) -> None:
        self._client = client
        self._recorder = recorder

    async def evict(self, pod: Pod) -> str:
        """Why it was refused, or "" where the pod leaves (or has left)."""
        metadata = pod.metadata
        body: Manifest = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": metadata.name, "namespace": metadata.namespace},
            "deleteOptions": {"preconditions": {"uid": metadata.uid}},
        }
        try:
            await self._client.post(
                PODS, metadata.name, "eviction", body, namespace=metadata.namespace
            )
        except (NotFoundError, ConflictError) as gone:
            _count(gone.status)
            return ""
        except (TooManyRequestsError, ServerError) as refused:
            # The server error is how a pod with two disruption budgets is refused.
            _count(refused.status)
            return refused.message
        except KubeError as refused:
            _count(refused.status)
            raise
        _count(201)
        metrics.PODS_DRAINED.labels("evicted").inc()
        self._recorder.event(PODS, metadata, events.NORMAL, events.EVICTED, "Evicted pod")
        return ""

    async def force(self, forced: Forced) -> None:
        """Delete the pod in what time there is left; budgets are not asked."""
        metadata = forced.pod.metadata
        self._recorder.event(
            PODS,
            metadata,
            events.NORMAL,
            events.DISRUPTED,
            f"Deleting the pod in {forced.grace_seconds} s: its node's termination grace period"
            " ends",
        )
        await self._client.delete(
            PODS,
            metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            grace_period_seconds=forced.grace_seconds,
        )
        metrics.PODS_DRAINED.labels("forced").inc()


def _count(code: int) -> None:
    metrics.EVICTION_REQUESTS.labels(str(code)).inc()
