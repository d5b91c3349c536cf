"""Writes that hold only for the object as it was seen, and what they have made of it. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from kube.errors import ConflictError, NotFoundError
from kube.meta import Manifest, ObjectMeta
from kube.store import Object

REMEMBERED = 1024
"""Objects that were written and not looked at since. Forgetting one costs a conflict."""

O = TypeVar("O", bound=Object)  # noqa: E741 - a type variable


def locked(seen: ObjectMeta, patch: Manifest) -> Manifest:
    """The merge patch, refused with ConflictError where somebody has written since."""
    metadata = {**patch.get("metadata", {}), "resourceVersion": seen.resource_version}
    return {**patch, "metadata": metadata}


def behind(gone: NotFoundError) -> ConflictError:
    """An object that we have seen is gone: like any other write that we have missed."""
    return ConflictError(gone.status, gone.reason, gone.message, gone.details)


class Written(Generic[O]):
    """Our own writes, until the cache shows them: whoever acts on what they have replaced is
    refused, and does not know what has been done already.

    A locked write says itself which version it has replaced: none need be compared.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, O] = OrderedDict()  # by uid
        self._replaced: dict[str, set[str]] = {}

    def latest(self, seen: O) -> O:
        """What a write of ours has made of the object; the object itself where none was later."""
        uid = seen.metadata.uid
        if seen.metadata.resource_version in self._replaced.get(uid, ()):
            return self._last[uid]
        self.forget(uid)
        return seen

    def note(self, seen: ObjectMeta, written: O) -> None:
        """The write of the object as it was seen has given this."""
        uid, version = seen.uid, written.metadata.resource_version
        if seen.resource_version == version:
            return  # nothing has changed
        replaced = self._replaced.setdefault(uid, set())
        replaced.add(seen.resource_version)
        if version not in replaced:  # the answers of two writes may overtake each other
            self._last[uid] = written
        self._last.move_to_end(uid)
        if len(self._last) > REMEMBERED:
            self.forget(next(iter(self._last)))

    def forget(self, uid: str) -> None:
        """There will be no more looks at it."""
        self._last.pop(uid, None)
        self._replaced.pop(uid, None)
