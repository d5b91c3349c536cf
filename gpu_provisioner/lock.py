"""Writes that hold only for the object as it was seen. Pure."""

from __future__ import annotations

from kube.errors import ConflictError, NotFoundError
from kube.meta import Manifest, ObjectMeta


def locked(seen: ObjectMeta, patch: Manifest) -> Manifest:
    """The merge patch, refused with ConflictError where somebody has written since."""
    metadata = {**patch.get("metadata", {}), "resourceVersion": seen.resource_version}
    return {**patch, "metadata": metadata}


def behind(gone: NotFoundError) -> ConflictError:
    """An object that we have seen is gone: like any other write that we have missed."""
    return ConflictError(gone.status, gone.reason, gone.message, gone.details)
