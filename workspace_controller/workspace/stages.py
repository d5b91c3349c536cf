"""The stages on a Workspace's way to serving: which reason belongs to which, how long each usually
takes, and what the user can do there. Data.

The times are orders of magnitude, for a reader who wonders whether to worry. Nodes are better
known from what the cluster has seen (`workspace.experience`), which wins where there is any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apis.kaito.v1beta1 import conditions as c
from apis.karpenter.v1 import conditions as kc
from presets.model import GIB, Model

VALIDATING: Final = "Validating"
QUOTA: Final = "WaitingForQuota"
NODE: Final = "WaitingForNode"
DRIVER: Final = "WaitingForDriver"
IMAGE: Final = "WaitingForImage"
WEIGHTS: Final = "WaitingForWeights"
ENGINE: Final = "WaitingForEngine"
TUNING: Final = "Tuning"
READY: Final = "Ready"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
DELETING: Final = "Deleting"

STAGES = (
    VALIDATING,
    QUOTA,
    NODE,
    DRIVER,
    IMAGE,
    WEIGHTS,
    ENGINE,
    TUNING,
    READY,
    SUCCEEDED,
    FAILED,
    DELETING,
)

_CAPACITY = (
    "QuotaExceeded",
    "InsufficientCapacity",
    "InsufficientCapacityError",
    "LimitReached",
)
"""Words of this project's clouds and of Karpenter for: asked, and refused for want of it."""

_OF_CLASSES = (
    "NodeClassNotReady",
    "NodeClassDiskTooSmall",
    "InvalidNodeClass",
    kc.NODE_CLASS_READINESS_UNKNOWN,
)
_OF_POOLS = ("NodePoolNameTaken", "NodePoolNotReady")

BY_REASON: Mapping[str, str] = {
    **dict.fromkeys(_CAPACITY, QUOTA),
    "BackingOff": QUOTA,
    c.REASON_GPU_QUOTA_EXCEEDED: QUOTA,
    c.REASON_INVALID_GPU_QUOTA: QUOTA,
    c.REASON_RESOURCE_QUOTA_EXCEEDED: QUOTA,
    c.REASON_API_KEYS_NOT_FOUND: VALIDATING,
    **dict.fromkeys((*_OF_CLASSES, *_OF_POOLS), VALIDATING),
    kc.RESOURCE_NOT_REGISTERED: DRIVER,
    kc.GPU_MODEL_MISMATCH: DRIVER,
    c.REASON_NODE_PLUGINS_NOT_READY: DRIVER,
    "ModelDescriptionPending": VALIDATING,
    "ModelCommitPending": WEIGHTS,
    c.REASON_IMAGE_PULL_ERROR: IMAGE,
    c.REASON_UNSCHEDULABLE: NODE,
    c.REASON_CONTAINER_OOM_KILLED: ENGINE,
    c.REASON_CONTAINER_START_ERROR: ENGINE,
    c.REASON_CRASH_LOOP: ENGINE,
    c.REASON_NODE_DISK_PRESSURE: NODE,
    c.REASON_NODE_MEMORY_PRESSURE: NODE,
    c.REASON_POD_EVICTED: NODE,
}
"""Where a reason alone tells the stage; the rest is told by where the reason stands."""

NEXT_STEPS: Mapping[str, str] = {
    "QuotaExceeded": "ask the cloud for more quota, or create another Workspace with an instance"
    " type that has some",
    "InsufficientCapacity": "wait for capacity, or create another Workspace with another instance"
    " type or zone",
    "InsufficientCapacityError": "wait for capacity, or create another Workspace with another"
    " instance type or zone",
    "LimitReached": "raise the limits of the NodePool",
    c.REASON_GPU_QUOTA_EXCEEDED: "delete what the namespace does not need, or have its quota"
    " raised: annotation kaito.sh/gpu-quota of the Namespace",
    c.REASON_INVALID_GPU_QUOTA: "have the annotation kaito.sh/gpu-quota of the Namespace corrected:"
    " a whole number",
    c.REASON_RESOURCE_QUOTA_EXCEEDED: "do what the message says: free what the ResourceQuota"
    " counts, or have it raised",
    c.REASON_API_KEYS_NOT_FOUND: "create the Secret that the annotation kaito.sh/api-key-secret"
    " names, with a key in it",
    "NodeClassNotReady": "see what the node class lacks: kubectl describe it",
    "InvalidPreset": "do what the message says; a preset cannot be edited, so for another one"
    " delete the Workspace and create it anew",
    "InvalidInstanceType": "delete it and create it anew with an instance type of the catalogue:"
    " it cannot be edited",
    "InvalidPartition": "delete it and create it anew: a partition cannot be edited",
    "InvalidConfig": "correct the ConfigMap that inference.config, or tuning.config, names, or name"
    " another",
    "ModelDoesNotFit": "delete it and create it anew with a larger instance type, or ask for less"
    " in the ConfigMap that inference.config, or tuning.config, names",
    "JobNameTaken": "delete that Job, or create the Workspace anew under another name",
    "NodePoolNameTaken": "delete it and create it anew under another name, or delete that NodePool",
    "InvalidTuning": "correct it: kubectl edit workspace",
    c.REASON_TUNING_OUT_OF_MEMORY: "ask for less in the ConfigMap that tuning.config names"
    " (per_device_train_batch_size, max_length, gradient_checkpointing), or delete it and create it"
    " anew with a larger instance type, or with method qlora",
    c.REASON_INVALID_DATA: "correct the data, then name it anew in tuning.input, or delete the Job"
    " to have it read again: kubectl delete job",
    c.REASON_MODEL_NOT_TUNABLE: "do what the message says; a preset cannot be edited, so for"
    " another one delete the Workspace and create it anew",
    c.REASON_PUSH_REFUSED: "let the Secret of tuning.output.imagePushSecret push to that"
    " repository, then delete the Job to try again: kubectl delete job",
    c.REASON_JOB_FAILED: "read why it ended: kubectl logs job; once that is mended, kubectl delete"
    " job tries again from the last checkpoint",
    "NodeClassDiskTooSmall": "name a node class with a larger disk: annotation"
    " kaito.sh/node-class-name",
    "NodePoolNotReady": "see what the pool lacks: kubectl describe nodepool",
    kc.LAUNCH_FAILED: "see the log of the node provisioner: kubectl describe nodeclaim",
    kc.NODE_NOT_FOUND: "see whether the machine boots and reaches the cluster: kubectl describe"
    " nodeclaim",
    kc.RESOURCE_NOT_REGISTERED: "see the pods of the GPU driver and device plugin on the node",
    kc.GPU_MODEL_MISMATCH: "see the pods of the GPU driver and device plugin on the node",
    c.REASON_NODE_PLUGINS_NOT_READY: "see the pods of the GPU driver and device plugin on the node",
    c.REASON_IMAGE_PULL_ERROR: "check the image's name and the pull secret: kubectl describe pod",
    c.REASON_UNSCHEDULABLE: "see what the pod asks for and the node lacks: kubectl describe pod",
    c.REASON_CONTAINER_OOM_KILLED: "use an instance type with more memory, or a smaller"
    " max-model-len",
    c.REASON_CONTAINER_START_ERROR: "see that the ConfigMaps and Secrets of the pod exist: kubectl"
    " describe pod",
    c.REASON_CRASH_LOOP: "read why the engine ended: kubectl logs --previous",
    c.REASON_NODE_DISK_PRESSURE: "use an instance type, or a node class, with a larger disk",
    c.REASON_NODE_MEMORY_PRESSURE: "use an instance type with more memory",
    c.REASON_POD_EVICTED: "see why the kubelet evicted it: kubectl describe pod",
}
"""By reason; where there is none, to wait is all that one can do."""

USUAL_SECONDS: Mapping[str, float] = {
    VALIDATING: 5,
    NODE: 5 * 60,
    DRIVER: 2 * 60,
    IMAGE: 3 * 60,
}
"""Without experience: a GPU machine of a cloud boots in 3 to 8 minutes, its driver takes 1 to 3,
and an engine's image of 8 GB comes with 50 MB/s. Quota has no usual time."""

_DOWNLOAD_BYTES_A_SECOND = 200e6
"""From the hub to a disk; a cloud's machine gets between 100 and 500 MB/s."""
_LOAD_BYTES_A_SECOND = 500e6
_ENGINE_START_SECONDS = 60.0
"""Processes, compilation and CUDA graphs, beside the reading of weights."""


def usual_of(model: Model) -> Mapping[str, float]:
    """Seconds that the model's weights and its engine usually take."""
    size = model.gguf_bytes or model.weights_bytes
    weights = max(5.0, size / _DOWNLOAD_BYTES_A_SECOND)
    engine = (_ENGINE_START_SECONDS if size > GIB else 10.0) + size / _LOAD_BYTES_A_SECOND
    return {WEIGHTS: weights, ENGINE: engine}


def spelled(seconds: float) -> str:
    """`45s`, `3m`, `1h10m`: as kubectl prints ages, without false precision."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 90 else f"{minutes // 60}h{minutes % 60:02d}m"
