"""What all children of a Workspace or RAGEngine have in common."""

from __future__ import annotations

from collections.abc import Mapping

from kube.meta import Manifest
from workspace_controller import marks
from workspace_controller.marks import Owner


def pod_labels(owner: Owner) -> dict[str, str]:
    """Also the selector, which can never change: nothing else may come in here."""
    return marks.of(owner).on_child(owner)


def child_metadata(
    owner: Owner, name: str, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Owned by it, so that the garbage collector sees to the end of it."""
    metadata: Manifest = {
        "name": name,
        "namespace": owner.metadata.namespace,
        "labels": pod_labels(owner),
        "ownerReferences": [
            {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.metadata.name,
                "uid": owner.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata
