"""Reading one's own writes: the cache is told of them only after a while.

Without this the round that follows a write starts from the object before it, decides the same
again, and is refused by the lock. Nothing but that request rests on it: what is forgotten here,
by a restart for instance, costs one conflict. Pure.
"""

from __future__ import annotations

from apis.kaito.v1beta1.workspace import Workspace
from kube import quantity


class LatestWrites:
    """The newest version of each Workspace that we wrote, until the cache has caught up."""

    def __init__(self) -> None:
        self._written: dict[str, Workspace] = {}

    def wrote(self, workspace: Workspace) -> None:
        """The API server's answer to a write, which a watch event will follow."""
        self._written[workspace.metadata.uid] = workspace

    def forget(self, workspace: Workspace) -> None:
        self._written.pop(workspace.metadata.uid, None)

    def of(self, cached: Workspace) -> Workspace:
        """Whichever is newer: what the cache has, or what we wrote."""
        written = self._written.get(cached.metadata.uid)
        if written is None:
            return cached
        if _version(written) > _version(cached):
            return written
        self.forget(cached)
        return cached


def _version(workspace: Workspace) -> int:
    """resourceVersions of one kind are ordered numbers (so promised since Kubernetes 1.35)."""
    return quantity.count(workspace.metadata.resource_version) or 0
