"""The statuses that a kubelet writes of a pod."""

from __future__ import annotations

from kube.meta import Manifest

CREATING = {"waiting": {"reason": "ContainerCreating"}}
RUNNING: Manifest = {"running": {}}


def waiting(reason: str, message: str = "") -> Manifest:
    return {"waiting": {"reason": reason, "message": message}}


def terminated(code: int, reason: str = "Error", message: str = "") -> Manifest:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def container(
    state: Manifest, name: str = "falcon", *, ready: bool = False, last: Manifest | None = None
) -> Manifest:
    restarts = 0 if last is None else 1
    described = {"name": name, "image": "i", "imageID": "", "restartCount": restarts}
    return {**described, "ready": ready, "state": state, "lastState": last or {}}


def pod(
    *containers: Manifest,
    init: tuple[Manifest, ...] = (),
    phase: str = "Pending",
    ready: bool = False,
    placed: bool = True,
    **more: str,
) -> Manifest:
    """`more`: reason and message of the pod itself; where it is not placed, of the scheduler."""
    scheduled = {"type": "PodScheduled", "status": str(placed)}
    conditions = [scheduled if placed else {**scheduled, **more}]
    if placed:
        conditions.append({"type": "Ready", "status": str(ready)})
    return {
        "phase": phase,
        "conditions": conditions,
        "containerStatuses": list(containers),
        "initContainerStatuses": list(init),
        **({**more} if placed else {}),
    }


def serving() -> Manifest:
    return pod(container(RUNNING, ready=True), phase="Running", ready=True)


def evicted(message: str) -> Manifest:
    return pod(phase="Failed", reason="Evicted", message=message)
