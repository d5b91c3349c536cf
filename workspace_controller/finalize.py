"""The end of a Workspace or RAGEngine: its pods, then paid nodes, then the finalizer.

Each round looks at the API server itself and does what is next, so that it does not matter how
often anybody dies on the way. Nothing is asked of the owner but its name: one that could not
be planned any more must still go. What else it owns the garbage collector sees to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kube import wire
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Resource
from kube.objects import DEPLOYMENTS, PODS, Pod
from workspace_controller import marks
from workspace_controller.nodes.asking import NodeOwner
from workspace_controller.nodes.provisioner import Holding, NodeProvisioner

_USUAL_GRACE_SECONDS = 30.0
"""What Kubernetes gives a pod that does not say how long its end may take."""

_GRACES = 2.0
"""After so many times its grace a pod is stuck, and holds up paid nodes no longer."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is still there. `message` is empty once nothing is; `look_again` is in seconds, None
    where a watch brings us back."""

    message: str = ""
    look_again: float | None = None


async def end(
    client: Client,
    provisioner: NodeProvisioner,
    owner: NodeOwner,
    now: datetime,
    workloads: Sequence[Resource[Any]],
) -> Remains:
    """Take away what comes next, and say what is waited for. `workloads` are the kinds that make
    the owner's pods."""
    pods = await _pods(client, owner, workloads)
    left = _patience(owner, pods, now)
    if pods and left > 0:
        return Remains(f"waiting for pods to end: {_names(pods)}", look_again=left)
    waited: list[str] = []
    for holding in provisioner.holdings(owner):
        names, asked = await _holders(client, holding)
        if names:
            waited.append(f"{holding.resource.kind}s to end: {', '.join(names)}")
        if asked:
            break
    if not waited:
        return Remains()
    held_up = f"; given up on pods {_names(pods)}" if pods else ""
    return Remains(f"waiting for {' and for '.join(waited)}{held_up}")


async def _pods(client: Client, owner: NodeOwner, workloads: Sequence[Resource[Any]]) -> list[Pod]:
    """Those that may still be at work on a node, after their end has been asked for.

    What makes pods goes first, or it would make them again; then its pods are deleted by us too,
    and not by the garbage collector alone, which may be slow or gone. Those of a Deployment are
    made by its ReplicaSets, which outlive it for a while: it is told to have none instead.
    """
    meta = owner.metadata
    emptied = False
    for kind in workloads:
        if kind is DEPLOYMENTS:
            emptied |= await _empty(client, owner)
        else:
            await _delete_workload(client, owner, kind)
    labelled = f"{marks.of(owner).child}={meta.name}"
    listing = await client.list(PODS, namespace=meta.namespace, labels=labelled)
    pods = [pod for pod in listing.items if _is_at_work(pod)]
    for pod in pods:
        if pod.metadata.deletion_timestamp is None and not emptied:
            name, uid = pod.metadata.name, pod.metadata.uid
            await client.delete(PODS, name, namespace=meta.namespace, uid=uid)
    return pods


async def _empty(client: Client, owner: NodeOwner) -> bool:
    """Whether there is a Deployment of ours that ends its pods, asked for it now or before."""
    meta = owner.metadata
    found = await client.get(DEPLOYMENTS, meta.name, meta.namespace)
    if found is None or found.metadata.deletion_timestamp is not None:
        return False
    if not any(each.uid == meta.uid for each in found.metadata.owner_references):
        return False
    if found.spec.get("replicas") != 0:
        patch = {"metadata": {"uid": found.metadata.uid}, "spec": {"replicas": 0}}
        await client.patch(DEPLOYMENTS, meta.name, patch, namespace=meta.namespace)
    return True


async def _delete_workload(client: Client, owner: NodeOwner, kind: Resource[Any]) -> None:
    """The one of our name, where it is ours."""
    meta = owner.metadata
    found = await client.get(kind, meta.name, meta.namespace)
    if found is None or found.metadata.deletion_timestamp is not None:
        return
    if any(each.uid == meta.uid for each in found.metadata.owner_references):
        uid = found.metadata.uid
        await client.delete(
            kind, meta.name, namespace=meta.namespace, uid=uid, propagation="Background"
        )


async def _holders(client: Client, holding: Holding) -> tuple[list[str], bool]:
    """The names of those still there, all of them on their way out by now, and whether that was
    asked of any only now. Only their heads are read: one that we cannot parse costs money, too."""
    try:
        listing = await client.list(
            holding.resource, labels=holding.labels, decode=wire.decode_head
        )
    except NotFoundError:
        return [], False  # the cluster does not know the kind
    live = [each for each in listing.items if each.metadata.deletion_timestamp is None]
    for each in live:
        await client.delete(
            holding.resource,
            each.metadata.name,
            uid=each.metadata.uid,
            propagation=holding.propagation,
        )
    return sorted(each.metadata.name for each in listing.items), bool(live)


def _is_at_work(pod: Pod) -> bool:
    return bool(pod.spec.node_name) and not pod.ended


def _patience(owner: NodeOwner, pods: Sequence[Pod], now: datetime) -> float:
    """Seconds for which the nodes are still left to these pods."""
    since = owner.metadata.deletion_timestamp or now
    graces = (pod.spec.termination_grace_period_seconds for pod in pods)
    longest = max(
        (_USUAL_GRACE_SECONDS if grace is None else float(grace) for grace in graces), default=0.0
    )
    return _GRACES * longest - (now - since).total_seconds()


def _names(pods: Sequence[Pod]) -> str:
    return ", ".join(sorted(pod.metadata.name for pod in pods))
