"""The local copy of a collection, with secondary indexes. Pure: no I/O, no event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from kube.meta import Key, ObjectMeta


class Object(Protocol):
    """Whatever has metadata."""

    @property
    def metadata(self) -> ObjectMeta: ...


O = TypeVar("O", bound=Object)  # noqa: E741 - a type variable

# Inside Store the name is that of its method.
_List = list

Change = tuple[O | None, O | None]
"""(old, new); old None: it is new, new None: it is gone."""


class Store(Generic[O]):
    """Objects by key and, through `indexes`, by whatever each function says of an object.

    One thread writes; others may read (`get`, `list`, `by_index`), as Prometheus' scrapes do.

    An index function may give several values for an object, or none; it must be pure, since it is
    asked again for the old object when that is replaced.
    """

    def __init__(self, indexes: Mapping[str, Callable[[O], Iterable[str]]] | None = None) -> None:
        self._objects: dict[Key, O] = {}
        self._indexers = dict(indexes or {})
        # A dict, not a set, for its order: answers come in order of arrival.
        self._indexed: dict[str, dict[str, dict[Key, None]]] = {name: {} for name in self._indexers}

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def get(self, name: str, namespace: str = "") -> O | None:
        return self._objects.get(Key(namespace, name))

    def list(self, namespace: str = "") -> list[O]:
        """All objects, or those of one namespace. In any thread: a dict is copied at one go, while
        a list of its pairs may meet a change of its size halfway."""
        objects = self._objects.copy()
        if not namespace:
            return list(objects.values())
        return [item for key, item in objects.items() if key.namespace == namespace]

    def by_index(self, index: str, value: str) -> _List[O]:
        """The objects for which the index function gives `value`; KeyError for no such index."""
        keys = list(self._indexed[index].get(value, ()))
        return [item for key in keys if (item := self._objects.get(key)) is not None]

    def put(self, item: O) -> O | None:
        """Store the object in place of its predecessor, which is returned."""
        key = item.metadata.key
        old = self._objects.get(key)
        self._objects[key] = item
        for name, values_of in self._indexers.items():
            new_values = tuple(values_of(item))
            old_values = () if old is None else tuple(values_of(old))
            if new_values == old_values:
                continue
            index = self._indexed[name]
            _unindex(index, key, old_values)
            for value in new_values:
                index.setdefault(value, {})[key] = None
        return old

    def remove(self, key: Key) -> O | None:
        """Forget the object, which is returned; None where it was not there."""
        old = self._objects.pop(key, None)
        if old is not None:
            for name, values_of in self._indexers.items():
                _unindex(self._indexed[name], key, values_of(old))
        return old

    def replace(self, items: Iterable[O], *, keep: Iterable[Key] = ()) -> _List[Change[O]]:
        """Make `items` the whole content, and say what that changed: the deletes too, which no
        watch will ever tell. Keys in `keep` stay as they are when `items` does not hold them.

        An object with the resourceVersion that we have is no change, and the one we have stays.
        """
        changes: list[Change[O]] = []
        gone = self._objects.keys() - set(keep)
        for item in items:
            key = item.metadata.key
            gone.discard(key)
            old = self._objects.get(key)
            version = item.metadata.resource_version
            if old is not None and version and old.metadata.resource_version == version:
                continue
            self.put(item)
            changes.append((old, item))
        changes += [(self.remove(key), None) for key in gone]
        return changes


def _unindex(index: dict[str, dict[Key, None]], key: Key, values: Iterable[str]) -> None:
    for value in values:
        keys = index.get(value)
        if keys is None:
            continue  # a function may give a value twice
        keys.pop(key, None)
        if not keys:
            del index[value]
