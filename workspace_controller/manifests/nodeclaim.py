"""The NodeClaim for one node of an owner, in a shape that every Karpenter provider takes."""

from __future__ import annotations

from typing import Any

from apis.kaito.v1beta1 import labels
from apis.karpenter.v1.labels import (
    DO_NOT_DISRUPT_ANNOTATION,
    INSTANCE_TYPE_LABEL,
    OS_LABEL,
)
from cloudproviders.profile import CloudProfile
from kube.meta import Manifest
from workspace_controller import marks
from workspace_controller.manifests import capacity
from workspace_controller.nodes.asking import NodeOwner
from workspace_controller.nodes.attempts import ORDINAL_ANNOTATION
from workspace_controller.nodes.provisioner import Need, user_labels


def node_claim(
    owner: NodeOwner, need: Need, cloud: CloudProfile, *, name: str, ordinal: int
) -> Manifest:
    """No ownerReference: the kind is cluster-scoped, so the owner's finalizer sees to it.

    `expireAfter` is written out, since the CRD's default destroys the node after 30 days, and
    `storage` is asked for only where the cloud reads it: elsewhere no machine would ever fit.
    """
    shape = need.shape
    spec: dict[str, Any] = {
        "nodeClassRef": cloud.node_class_ref.model_dump(),
        "requirements": [
            {"key": INSTANCE_TYPE_LABEL, "operator": "In", "values": [shape.instance_type]},
            {"key": OS_LABEL, "operator": "In", "values": ["linux"]},
            *cloud.requirements_for(shape.instance_type, gpus=shape.gpu.count),
            *([capacity.requirement(owner)] if _says_capacity(owner, cloud) else []),
        ],
        "taints": [dict(taint) for taint in cloud.taints],
        "expireAfter": "Never",
    }
    if cloud.requests_storage:
        spec["resources"] = {"requests": {"storage": f"{need.disk_gib}Gi"}}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "labels": _labels(owner, need, cloud),
            "annotations": _annotations(owner, cloud, ordinal),
        },
        "spec": spec,
    }


def _says_capacity(owner: NodeOwner, cloud: CloudProfile) -> bool:
    """gpu-provisioner, which reads `storage`, buys no spot for KAITO's claims anyway; its Go
    ancestor is told no more than KAITO tells it."""
    return not cloud.requests_storage or bool(capacity.asked_for(owner))


def owner_labels(owner: NodeOwner) -> dict[str, str]:
    """Whose claim and whose node it is; nodes get the labels of their claim."""
    return marks.of(owner).on_claim(owner)


def _labels(owner: NodeOwner, need: Need, cloud: CloudProfile) -> dict[str, str]:
    drawn = {labels.ACCELERATOR_LABEL: labels.ACCELERATOR_NVIDIA} if need.shape.gpu.count else {}
    return {**drawn, **user_labels(owner), **cloud.labels, **owner_labels(owner)}


def _annotations(owner: NodeOwner, cloud: CloudProfile, ordinal: int) -> dict[str, str]:
    family = owner.metadata.annotations.get(labels.NODE_IMAGE_FAMILY_ANNOTATION, "")
    family = family.strip().lower()
    asked = {labels.NODE_IMAGE_FAMILY_ANNOTATION: family} if family else {}
    return {
        **cloud.annotations,
        **asked,
        DO_NOT_DISRUPT_ANNOTATION: "true",
        ORDINAL_ANNOTATION: str(ordinal),
    }
