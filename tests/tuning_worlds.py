"""Workspaces that tune, and the Jobs and pods that come of them, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Condition, Manifest, ObjectMeta, OwnerReference
from kube.objects import (
    ConfigMap,
    ContainerState,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
    Unstructured,
)
from tests.builders import NOW, UID, a_workspace_manifest

JOB_UID = "uid-job"
CONFIG = "training_config:\n  TrainingArguments:\n    output_dir: /mnt/out\n"
TUNING: Manifest = {
    "preset": {"name": "small-1b"},
    "method": "lora",
    "input": {"urls": ["https://data.example/a.jsonl"]},
    "output": {"image": "registry.example/tuned:1", "imagePushSecret": "push"},
}


def a_tuning_manifest(*, tuning: Manifest | None = None, **given: Any) -> Manifest:
    """As a user writes it; `tuning` is merged over a LoRA from a URL into an image."""
    found = a_workspace_manifest(**given)
    del found["inference"]
    return {**found, "tuning": {**TUNING, **(tuning or {})}}


def a_tuning(
    *, tuning: Manifest | None = None, status: Manifest | None = None, **given: Any
) -> Workspace:
    """As the API server has it."""
    manifest = a_tuning_manifest(tuning=tuning, **given)
    manifest["metadata"] |= {"uid": UID, "resourceVersion": "1", "generation": 1}
    return Workspace.model_validate({**manifest, "status": status or {}})


def a_training_config(text: str = CONFIG) -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(name="training", namespace="default"),
        data={"training_config.yaml": text},
    )


def a_job(
    made: Manifest,
    *,
    complete: bool = False,
    failed: str = "",
    since: datetime = NOW,
    owner: str = UID,
    deleting: bool = False,
    **counts: int,
) -> Unstructured:
    """What was made of `made`, the manifest of a plan; `failed` is the Job's own reason."""
    told = []
    if complete:
        told.append({"type": "Complete", "status": "True", "lastTransitionTime": _wire(since)})
    if failed:
        told.append(
            {
                "type": "Failed",
                "status": "True",
                "reason": failed,
                "message": f"Job has failed: {failed}",
                "lastTransitionTime": _wire(since),
            }
        )
    meta = made["metadata"]
    return Unstructured(
        metadata=ObjectMeta(
            name=meta["name"],
            namespace="default",
            uid=JOB_UID,
            annotations=dict(meta["annotations"]),
            owner_references=(_owner("Workspace", meta["name"], owner),),
            deletion_timestamp=NOW if deleting else None,
        ),
        spec=made["spec"],
        status={"conditions": told, **counts},
    )


def a_training_pod(
    name: str = "falcon-abcde",
    *,
    age: int = 60,
    node: str = "node-1",
    phase: str = "Running",
    exit_code: int | None = None,
    reason: str = "",
    message: str = "",
    waiting: tuple[str, str] | None = None,
    init: Mapping[str, ContainerState] | None = None,
    interrupted: str = "",
    job: str = JOB_UID,
) -> Pod:
    """A pod of the Job, `age` seconds old. It runs, or waits, or has ended with `exit_code`."""
    state = ContainerState(running={})
    if waiting is not None:
        state = ContainerState(waiting=ContainerStateWaiting(*waiting))
    elif init:
        state = ContainerState(waiting=ContainerStateWaiting(reason="PodInitializing"))
    elif exit_code is not None:
        phase = "Failed" if exit_code else "Succeeded"
        ended = ContainerStateTerminated(reason=reason, message=message, exit_code=exit_code)
        state = ContainerState(terminated=ended)
    told = ()
    if interrupted:
        told = (Condition(type="DisruptionTarget", status="True", message=interrupted),)
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            labels={"kaito.sh/workspace": "falcon"},
            owner_references=(_owner("Job", "falcon", job),),
            creation_timestamp=NOW - timedelta(seconds=age),
        ),
        spec=PodSpec(node_name=node),
        status=PodStatus(
            phase=phase,
            conditions=told,
            container_statuses=(ContainerStatus(name="falcon", state=state),),
            init_container_statuses=tuple(
                ContainerStatus(name=each, state=its) for each, its in (init or {}).items()
            ),
        ),
    )


def with_status(workspace: Workspace, **fields: Any) -> Workspace:
    """The same with these fields of its status (Python names)."""
    return workspace.model_copy(update={"status": workspace.status.model_copy(update=fields)})


def annotated(workspace: Workspace, annotations: Mapping[str, str]) -> Workspace:
    meta = workspace.metadata
    merged = {**meta.annotations, **annotations}
    return workspace.model_copy(
        update={"metadata": msgspec.structs.replace(meta, annotations=merged)}
    )


def _owner(kind: str, name: str, uid: str) -> OwnerReference:
    return OwnerReference(api_version="v1", kind=kind, name=name, uid=uid, controller=True)


def _wire(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
