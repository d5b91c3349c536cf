"""Reading one's own writes: the cache is told of them only after a while.

Without this the round that follows a write starts from the object before it, decides the same
again, and is refused by the lock. Nothing but that request rests on it: what is forgotten here,
by a restart for instance, costs one conflict. Pure.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from kube import quantity
from kube.store import Object

O = TypeVar("O", bound=Object)  # noqa: E741 - a type variable


class LatestWrites(Generic[O]):
    """The newest version of each object of a kind that we wrote, until the cache has caught up."""

    def __init__(self) -> None:
        self._written: dict[str, O] = {}

    def wrote(self, written: O) -> None:
        """The API server's answer to a write, which a watch event will follow."""
        self._written[written.metadata.uid] = written

    def forget(self, gone: O) -> None:
        self._written.pop(gone.metadata.uid, None)

    def of(self, cached: O) -> O:
        """Whichever is newer: what the cache has, or what we wrote."""
        written = self._written.get(cached.metadata.uid)
        if written is None:
            return cached
        if _version(written) > _version(cached):
            return written
        self.forget(cached)
        return cached


def _version(found: Object) -> int:
    """resourceVersions of one kind are ordered numbers (so promised since Kubernetes 1.35)."""
    return quantity.count(found.metadata.resource_version) or 0
