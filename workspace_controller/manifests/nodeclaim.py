"""The NodeClaim for one node of a Workspace, in a shape that every Karpenter provider takes."""

from __future__ import annotations

from typing import Any

from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.labels import (
    DO_NOT_DISRUPT_ANNOTATION,
    INSTANCE_TYPE_LABEL,
    OS_LABEL,
)
from cloudproviders.profile import CloudProfile
from kube.meta import Manifest
from workspace_controller.nodes.attempts import ORDINAL_ANNOTATION
from workspace_controller.nodes.provisioner import Need, user_labels


def node_claim(
    workspace: Workspace, need: Need, cloud: CloudProfile, *, name: str, ordinal: int
) -> Manifest:
    """No ownerReference: the kind is cluster-scoped, so the Workspace's finalizer sees to it.

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
            "labels": _labels(workspace, need, cloud),
            "annotations": _annotations(workspace, cloud, ordinal),
        },
        "spec": spec,
    }


def owner_labels(workspace: Workspace) -> dict[str, str]:
    """Whose claim and whose node it is; nodes get the labels of their claim."""
    return {
        labels.WORKSPACE_LABEL: workspace.metadata.name,
        labels.WORKSPACE_NAMESPACE_LABEL: workspace.metadata.namespace,
    }


def _labels(workspace: Workspace, need: Need, cloud: CloudProfile) -> dict[str, str]:
    drawn = {labels.ACCELERATOR_LABEL: labels.ACCELERATOR_NVIDIA} if need.shape.gpu.count else {}
    return {**drawn, **user_labels(workspace), **cloud.labels, **owner_labels(workspace)}


def _annotations(workspace: Workspace, cloud: CloudProfile, ordinal: int) -> dict[str, str]:
    family = workspace.metadata.annotations.get(labels.NODE_IMAGE_FAMILY_ANNOTATION, "")
    family = family.strip().lower()
    asked = {labels.NODE_IMAGE_FAMILY_ANNOTATION: family} if family else {}
    return {
        **cloud.annotations,
        **asked,
        DO_NOT_DISRUPT_ANNOTATION: "true",
        ORDINAL_ANNOTATION: str(ordinal),
    }
