"""Who set which field, as the API server keeps it in metadata.managedFields. Pure.

A path is a tuple of steps in the server's own spelling (FieldsV1): `f:args` is a field or a key of
a map, `k:{"name":"x"}` the item of a keyed list, `v:"x"` the member of a set, `i:0` an index. A
list or map that the schema treats as one value (args, a label selector) ends a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from kube.meta import Manifest, ObjectMeta

Path: TypeAlias = tuple[str, ...]

_KEY_DEFAULTS: Mapping[str, Any] = {"protocol": "TCP"}
"""Keys of lists that may be left out of an item."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""No value, where null is one."""


class FieldOwner(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """metav1.ManagedFieldsEntry: what one manager has set in one way."""

    manager: str = ""
    operation: str = ""
    """Apply or Update: the first declares what it wants, the second only did something once."""
    api_version: str = ""
    time: str = ""
    fields_type: str = "FieldsV1"
    fields_v1: Manifest = {}
    subresource: str = ""

    @property
    def paths(self) -> frozenset[Path]:
        """Of all values that it owns; that it owns the list or map around them is left out."""
        return frozenset(_leaves(self.fields_v1, ()))

    def without(self, paths: Iterable[Path]) -> FieldOwner | None:
        """The entry without these; None where nothing is left."""
        fields = self.fields_v1
        for path in paths:
            fields = _pruned(fields, path)
        return msgspec.structs.replace(self, fields_v1=fields) if fields else None

    def joined(self, other: FieldOwner) -> FieldOwner:
        """The entry with all that the other owns, too."""
        return msgspec.structs.replace(self, fields_v1=_union(self.fields_v1, other.fields_v1))

    def to_json(self) -> Manifest:
        """As it goes over the wire."""
        found: Manifest = msgspec.to_builtins(self)
        return {"fieldsType": self.fields_type, **found}


class OwnedMeta(ObjectMeta, frozen=True, kw_only=True):
    """Metadata with the owners of the object's fields, where those matter."""

    managed_fields: tuple[FieldOwner, ...] = ()


def value_at(value: Any, path: Path) -> Any:
    """What is there, or ABSENT."""
    for step in path:
        value = _child(value, step)
        if value is ABSENT:
            break
    return value


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy with `new` at the path, made where it is missing; with ABSENT, without it."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    kind, _, text = step.partition(":")
    changed = replaced(_child(value, step), rest, new)
    if kind == "f":
        fields = dict(value) if isinstance(value, Mapping) else {}
        fields.pop(text, None) if changed is ABSENT else fields.__setitem__(text, changed)
        return fields
    items = list(value) if isinstance(value, list | tuple) else []
    at = _position(items, step)
    if kind == "k" and isinstance(changed, Mapping):
        changed = {**json.loads(text), **changed}
    if changed is ABSENT:
        return items if at is None else [*items[:at], *items[at + 1 :]]
    return [*items, changed] if at is None else [*items[:at], changed, *items[at + 1 :]]


def readable(path: Path) -> str:
    """As `spec.template.spec.containers[name=falcon].args`."""
    words = "".join(_word(*step.partition(":")[::2]) for step in path)
    return words.removeprefix(".")


def _word(kind: str, text: str) -> str:
    if kind == "f":
        return f"[{text}]" if "/" in text or "." in text else f".{text}"
    if kind == "k":
        return f"[{','.join(f'{key}={value}' for key, value in json.loads(text).items())}]"
    return f"[{json.loads(text)}]"


def _leaves(fields: Mapping[str, Any], at: Path) -> Iterator[Path]:
    for step, below in fields.items():
        if below:
            yield from _leaves(below, (*at, step))
        elif step != ".":
            yield (*at, step)


def _pruned(fields: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Without the path, and without what is empty then: empty, it would mean a whole value."""
    kept = dict(fields)
    below = kept.pop(path[0], None)
    if below and len(path) > 1 and (rest := _pruned(below, path[1:])):
        kept[path[0]] = rest
    return kept


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, **{step: _union(one.get(step, {}), below) for step, below in other.items()}}


def _child(value: Any, step: str) -> Any:
    kind, _, text = step.partition(":")
    if kind == "f":
        return value.get(text, ABSENT) if isinstance(value, Mapping) else ABSENT
    if not isinstance(value, list | tuple):
        return ABSENT
    at = _position(value, step)
    return ABSENT if at is None else value[at]


def _position(items: list[Any] | tuple[Any, ...], step: str) -> int | None:
    kind, _, text = step.partition(":")
    wanted = json.loads(text)
    if kind == "i":
        return int(wanted) if int(wanted) < len(items) else None
    matches = _has_keys if kind == "k" else _equals
    return next((at for at, item in enumerate(items) if matches(item, wanted)), None)


def _has_keys(item: Any, keys: Mapping[str, Any]) -> bool:
    return isinstance(item, Mapping) and all(
        item.get(key, _KEY_DEFAULTS.get(key)) == value for key, value in keys.items()
    )


def _equals(item: Any, value: Any) -> bool:
    return bool(item == value)
