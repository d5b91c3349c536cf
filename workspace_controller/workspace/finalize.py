"""The end of a Workspace: its pods, then the nodes that are paid for, then the finalizer.

Each round looks at the API server itself and does what is next, so that it does not matter how
often anybody dies on the way. Nothing is asked of the Workspace but its name: one that could not
be planned any more must still go. What else it owns the garbage collector sees to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apis.kaito.v1beta1.labels import WORKSPACE_LABEL
from apis.kaito.v1beta1.workspace import Workspace
from kube import wire
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Resource
from kube.objects import JOBS, PODS, STATEFUL_SETS, Pod
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
    client: Client, provisioner: NodeProvisioner, workspace: Workspace, now: datetime
) -> Remains:
    """Take away what comes next, and say what is waited for."""
    pods = await _pods(client, workspace)
    left = _patience(workspace, pods, now)
    if pods and left > 0:
        return Remains(f"waiting for pods to end: {_names(pods)}", look_again=left)
    for holding in provisioner.holdings(workspace):
        if names := await _holders(client, holding):
            held_up = f"; given up on pods {_names(pods)}" if pods else ""
            kind = f"{holding.resource.kind}s"
            return Remains(f"waiting for {kind} to end: {', '.join(names)}{held_up}")
    return Remains()


async def _pods(client: Client, workspace: Workspace) -> list[Pod]:
    """Those that may still be at work on a node, after their end has been asked for.

    The StatefulSet or Job goes first, or it would make them again; then its pods are deleted by us
    too, and not by the garbage collector alone, which may be slow or gone.
    """
    meta = workspace.metadata
    for kind in (JOBS, STATEFUL_SETS):
        await _delete_workload(client, workspace, kind)
    labelled = f"{WORKSPACE_LABEL}={meta.name}"
    listing = await client.list(PODS, namespace=meta.namespace, labels=labelled)
    pods = [pod for pod in listing.items if _is_at_work(pod)]
    for pod in pods:
        if pod.metadata.deletion_timestamp is None:
            name, uid = pod.metadata.name, pod.metadata.uid
            await client.delete(PODS, name, namespace=meta.namespace, uid=uid)
    return pods


async def _delete_workload(client: Client, workspace: Workspace, kind: Resource[Any]) -> None:
    """The one of our name, where it is ours."""
    meta = workspace.metadata
    found = await client.get(kind, meta.name, meta.namespace)
    if found is None or found.metadata.deletion_timestamp is not None:
        return
    if any(owner.uid == meta.uid for owner in found.metadata.owner_references):
        uid = found.metadata.uid
        await client.delete(
            kind, meta.name, namespace=meta.namespace, uid=uid, propagation="Background"
        )


async def _holders(client: Client, holding: Holding) -> list[str]:
    """The names of those still there, all of them deleted by now or on their way. Only their
    heads are read: one that we cannot parse costs money, too."""
    try:
        listing = await client.list(
            holding.resource, labels=holding.labels, decode=wire.decode_head
        )
    except NotFoundError:
        return []  # the cluster does not know the kind
    for each in listing.items:
        if each.metadata.deletion_timestamp is None:
            await client.delete(holding.resource, each.metadata.name, uid=each.metadata.uid)
    return sorted(each.metadata.name for each in listing.items)


def _is_at_work(pod: Pod) -> bool:
    return bool(pod.spec.node_name) and not pod.ended


def _patience(workspace: Workspace, pods: Sequence[Pod], now: datetime) -> float:
    """Seconds for which the nodes are still left to these pods."""
    since = workspace.metadata.deletion_timestamp or now
    graces = (pod.spec.termination_grace_period_seconds for pod in pods)
    longest = max(
        (_USUAL_GRACE_SECONDS if grace is None else float(grace) for grace in graces), default=0.0
    )
    return _GRACES * longest - (now - since).total_seconds()


def _names(pods: Sequence[Pod]) -> str:
    return ", ".join(sorted(pod.metadata.name for pod in pods))
