"""What all children of a Workspace have in common."""

from __future__ import annotations

from collections.abc import Mapping

from apis.kaito.v1beta1.labels import WORKSPACE_LABEL
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kube.meta import Manifest


def pod_labels(workspace: Workspace) -> dict[str, str]:
    """Also the selector, which can never change: nothing else may come in here."""
    return {WORKSPACE_LABEL: workspace.metadata.name}


def child_metadata(
    workspace: Workspace, name: str, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Owned by the Workspace, so that the garbage collector sees to the end of it."""
    metadata: Manifest = {
        "name": name,
        "namespace": workspace.metadata.namespace,
        "labels": pod_labels(workspace),
        "ownerReferences": [
            {
                "apiVersion": WORKSPACES.api_version,
                "kind": WORKSPACES.kind,
                "name": workspace.metadata.name,
                "uid": workspace.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata
