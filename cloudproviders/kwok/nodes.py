"""The Node object that stands for a simulated machine, and what its kubelet would report. Pure.

All that the cloud knows of a machine stands on its Node, so that nothing is lost with the
process. The Node exists from the first moment, but carries no provider id until it has booted:
nobody can match it to a claim before.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.instancetype import InstanceType
from cloudproviders.provider import Instance
from cloudproviders.selection import Choice
from kube.meta import Manifest
from kube.objects import Node

PROVIDER_ID_PREFIX = "kwok://"

FAKE_ANNOTATION = "kwok.x-k8s.io/node"
"""kwok's own controller takes care of nodes that carry it with value `fake`; as a label too."""

CLAIM_UID_ANNOTATION = "karpenter.kwok.sh/nodeclaim-uid"
NOT_READY_TAINT = "node.kubernetes.io/not-ready"
TERMINATED_ANNOTATION = "karpenter.kwok.sh/terminated"
"""The machine is gone; its Node waits for finalizers."""


def provider_id(name: str) -> str:
    return f"{PROVIDER_ID_PREFIX}{name}"


def node(claim: NodeClaim, choice: Choice) -> Manifest:
    """The Node as a kubelet would register it, had it booted."""
    taints = [
        {"key": labels.UNREGISTERED_TAINT, "effect": "NoExecute"},
        *(
            {"key": taint.key, "value": taint.value, "effect": taint.effect}
            for taint in (*claim.spec.taints, *claim.spec.startup_taints)
        ),
    ]
    name = claim.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                **claim.metadata.labels,
                **choice.labels,
                FAKE_ANNOTATION: "fake",
                labels.HOSTNAME_LABEL: name,
            },
            "annotations": {FAKE_ANNOTATION: "fake", CLAIM_UID_ANNOTATION: claim.metadata.uid},
        },
        "spec": {"taints": taints},
    }


def boot_status(instance_type: InstanceType, now: datetime) -> Manifest:
    """The status of a healthy kubelet that has found all its hardware."""
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    pressures = ("MemoryPressure", "DiskPressure", "PIDPressure")
    return {
        "phase": "Running",
        "capacity": dict(instance_type.capacity),
        "allocatable": instance_type.allocatable,
        "conditions": [
            _condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", at),
            *(
                _condition(kind, "False", f"Kubelet{kind}No", "no pressure", at)
                for kind in pressures
            ),
        ],
        "nodeInfo": {
            "architecture": instance_type.architecture,
            "operatingSystem": "linux",
            "osImage": "",
            "kernelVersion": "",
            "kubeletVersion": "kwok",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "kwok://",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }


def joined(node: Node) -> Manifest:
    """The locked patch by which a booted machine shows itself. The API server taints every new
    Node not-ready, and a node lifecycle controller, where there is one, takes that off."""
    taints = [taint for taint in node.spec.taints if taint.key != NOT_READY_TAINT]
    return {
        "metadata": {"resourceVersion": node.metadata.resource_version},
        "spec": {
            "providerID": provider_id(node.metadata.name),
            "taints": msgspec.to_builtins(taints),
        },
    }


def ours(node: Node) -> bool:
    """Whether the Node stands for a machine of this cloud that still exists."""
    return bool(claim_uid(node)) and TERMINATED_ANNOTATION not in node.metadata.annotations


def claim_uid(node: Node) -> str:
    """Of the claim that the machine was made for; "" for a Node that is none of ours."""
    return node.metadata.annotations.get(CLAIM_UID_ANNOTATION, "")


def instance_type_name(node: Node) -> str:
    return node.metadata.labels.get(labels.INSTANCE_TYPE_LABEL, "")


def booted(node: Node) -> bool:
    return bool(node.spec.provider_id) and bool(node.status.conditions)


def instance(node: Node, instance_type: InstanceType | None) -> Instance:
    found = node.metadata.labels
    return Instance(
        provider_id=provider_id(node.metadata.name),
        name=node.metadata.name,
        claim_name=node.metadata.name,
        claim_uid=claim_uid(node),
        instance_type=found.get(labels.INSTANCE_TYPE_LABEL, ""),
        zone=found.get(labels.ZONE_LABEL, ""),
        capacity_type=found.get(labels.CAPACITY_TYPE_LABEL, ""),
        image_id="kwok",
        capacity=instance_type.capacity if instance_type else {},
        allocatable=instance_type.allocatable if instance_type else {},
        labels={
            key: value
            for key, value in found.items()
            if instance_type and (key in instance_type.labels or key in _PLACEMENT)
        },
        created=node.metadata.creation_timestamp,
    )


_PLACEMENT = (
    labels.INSTANCE_TYPE_LABEL,
    labels.ZONE_LABEL,
    labels.CAPACITY_TYPE_LABEL,
    labels.ARCH_LABEL,
    labels.OS_LABEL,
)


def _condition(kind: str, status: str, reason: str, message: str, at: str) -> Manifest:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
    }
