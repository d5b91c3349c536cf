"""What a GKE node says of its own end, and what makes it worth replacing. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from cloudproviders import repair
from cloudproviders.provider import Interruption, RepairPolicy
from kube.meta import Condition
from kube.objects import Node

SPOT_LABEL = "cloud.google.com/gke-spot"

SPOT_NOTICE = timedelta(seconds=30)
"""Compute Engine's, from the notice to the end of a spot machine."""

MAINTENANCE_NOTICE = timedelta(hours=1)
"""What GKE gives GPU machines before host maintenance (`--regular-vm-timeout` of its
maintenance-handler)."""

TERMINATION_TAINT = "cloud.google.com/impending-node-termination"
"""Put on by GKE before it stops a node for maintenance or preemption (cloud.google.com/
kubernetes-engine/docs/concepts/handle-disruption-gpu-tpu)."""

MAINTENANCE_LABEL = "cloud.google.com/active-node-maintenance"
"""`ONGOING` while GKE stops the pods of a node whose host is to be serviced."""

PREEMPTION_CONDITION = "GCESpotPreempting"
"""Set by the optional watcher of karpenter-provider-gcp's chart, before the machine is stopped."""

SHUTTING_DOWN = ("KubeletNotReady", re.compile(r"\bnode is shutting down\b"))
"""Reason and message of Ready=False once the kubelet has been told that the machine stops. The
text is the only sign: kubernetes/kubernetes pkg/kubelet/nodeshutdown gives it no reason of its own;
karpenter-provider-gcp goes by the same words."""

REPAIR_POLICIES: tuple[RepairPolicy, ...] = (
    *repair.NODE_NOT_READY,
    RepairPolicy("KernelDeadlock", "True", timedelta(minutes=5)),
    RepairPolicy("ReadonlyFilesystem", "True", timedelta(minutes=5)),
    RepairPolicy("FrequentKubeletRestart", "True", timedelta(minutes=30)),
    RepairPolicy("FrequentContainerdRestart", "True", timedelta(minutes=30)),
    *repair.GPU_FAULTS,
)
"""karpenter-provider-gcp's, of GKE's node-problem-detector, and those of GPUs."""


def interruption(node: Node, now: datetime) -> Interruption | None:
    """The gravest that stands on the node; its deadline counts from when it was put there."""
    spot = node.metadata.labels.get(SPOT_LABEL) == "true"
    for condition in node.status.conditions:
        since = condition.last_transition_time or now
        if condition.type == PREEMPTION_CONDITION and condition.status == "True":
            return _ends(node, "spot_interrupted", condition.message, since + SPOT_NOTICE)
        if condition.type == "Ready" and _shutting_down(condition):
            kind = "spot_interrupted" if spot else "instance_stopped"
            return _ends(node, kind, condition.message, since + SPOT_NOTICE)
    for taint in node.spec.taints:
        if taint.key == TERMINATION_TAINT:
            told, since = f"GKE will stop the node: taint {taint.key}", taint.time_added or now
            if spot:
                return _ends(node, "spot_interrupted", told, since + SPOT_NOTICE)
            return _ends(node, "scheduled_change", told, since + MAINTENANCE_NOTICE)
    if node.metadata.labels.get(MAINTENANCE_LABEL) == "ONGOING":
        told = f"host maintenance: label {MAINTENANCE_LABEL}=ONGOING"
        return _ends(node, "scheduled_change", told, now + MAINTENANCE_NOTICE)
    return None


def _shutting_down(ready: Condition) -> bool:
    reason, words = SHUTTING_DOWN
    return (
        ready.status != "True"
        and ready.reason == reason
        and words.search(ready.message) is not None
    )


def _ends(node: Node, kind: str, message: str, deadline: datetime) -> Interruption:
    return Interruption(
        kind=kind,
        provider_id=node.spec.provider_id,
        message=message or "the machine is being taken back",
        deadline=deadline,
    )
