"""Who waits for a quota of its namespace, and what may end that. Pure.

Noted in the very moment in which a round decides to wait, before anything else can happen: a claim
that goes a moment later finds who waited for it. A restart forgets it all, and looks at everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Key, find_condition
from kube.store import Object
from workspace_controller import marks
from workspace_controller.marks import Owner
from workspace_controller.quota import gave_back, is_on_its_way

_In: TypeAlias = Callable[[str, str], tuple[Key, ...]]
"""Kind and namespace → who."""


class Waiting:
    """Keys of those that wait, by kind and namespace; and of those that have not all yet, whose
    pods a ResourceQuota may have begun to refuse."""

    def __init__(self) -> None:
        self._waiting = _Keys()
        self._unfinished = _Keys()

    def note(self, owner: Owner, *, waits: bool, unfinished: bool) -> None:
        """What the round has decided for the owner."""
        self._waiting.put(owner, there=waits)
        self._unfinished.put(owner, there=unfinished)

    def forget(self, owner: Owner) -> None:
        """It ends, and waits for nothing more."""
        self.note(owner, waits=False, unfinished=False)

    def of_kind(self, kind: str) -> Wakes:
        return Wakes(kind, self._waiting.of, self._unfinished.of)


class _Keys:
    def __init__(self) -> None:
        self._found: dict[tuple[str, str], set[Key]] = {}

    def put(self, owner: Owner, *, there: bool) -> None:
        at = (owner.kind, owner.metadata.namespace)
        if there:
            self._found.setdefault(at, set()).add(owner.metadata.key)
        elif at in self._found:
            self._found[at].discard(owner.metadata.key)
            if not self._found[at]:
                del self._found[at]

    def of(self, kind: str, namespace: str) -> tuple[Key, ...]:
        return tuple(self._found.get((kind, namespace), ()))


class Wakes:
    """Whose round a change in a namespace starts: all of one kind that wait there. Who has gone by
    then costs a look at an empty cache."""

    def __init__(self, kind: str, waiting: _In, unfinished: _In) -> None:
        self._kind = kind
        self._waiting = waiting
        self._unfinished = unfinished

    def of_namespace(self, namespace: Object) -> Iterable[Key]:
        """The annotation may have changed."""
        return self._waiting(self._kind, namespace.metadata.name)

    def beside(self, found: Object) -> Iterable[Key]:
        """An object of the namespace."""
        return self._waiting(self._kind, found.metadata.namespace)

    def of_rule(self, found: Object) -> Iterable[Key]:
        """A ResourceQuota, or a LimitRange: what is used changes with each pod."""
        return self._unfinished(self._kind, found.metadata.namespace)

    def of_nodes(self, found: Object) -> Iterable[Key]:
        """A claim, or a pool, of anybody in the namespace."""
        keys = (key for each in marks.ALL for key in each.of_cluster_scoped(found))
        return [each for key in keys for each in self._waiting(self._kind, key.namespace)]


def changes_share(old: Workspace | RAGEngine, new: Workspace | RAGEngine) -> bool:
    """Whether somebody else may have more, or comes earlier, by this: not where only words of the
    status change, or those who wait would wake each other for ever."""
    return _share(old) != _share(new)


def _share(owner: Workspace | RAGEngine) -> tuple[Any, ...]:
    told = find_condition(owner.status.conditions, c.RESOURCE_READY)
    return (
        owner.deleting,
        owner.metadata.generation,
        getattr(owner.status, "target_node_count", 0),
        told.status if told is not None else "",
        told.reason if told is not None else "",
        is_on_its_way(owner),
        gave_back(owner, byo=True),
    )
