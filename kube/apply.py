"""What to send, decided without sending it: is an apply needed, and what does a patch hold. Pure.

An apply that changes nothing still costs a request, and a watch event where a defaulting webhook
touches the object. So what we apply carries the hash of what we meant: the hash answers whether
*we* changed our mind (fields that we dropped included), the comparison whether *others* did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kube import quantity
from kube.meta import Manifest

APPLIED_HASH_ANNOTATION = "kaito.sh/applied-hash"

# Below these fields values are quantities, which the API server spells in its own way.
_QUANTITIES = frozenset({"requests", "limits", "capacity", "allocatable", "hard", "overhead"})
_QUANTITY_FIELDS = frozenset({"sizeLimit", "divisor"})
# Written in one field and kept in another.
_WRITE_ONLY = frozenset({"stringData"})
# Sets that other controllers add to.
_SHARED_SETS = frozenset({"finalizers"})


def with_applied_hash(manifest: Manifest) -> Manifest:
    """The same manifest, annotated with its hash; the argument is left as it is."""
    metadata = manifest.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), APPLIED_HASH_ANNOTATION: _hash(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def needs_apply(desired: Manifest, live: Manifest | None) -> bool:
    """Whether applying `desired` would change anything; `live` None means that it is absent.

    Fields that only `live` has are the server's defaults or somebody else's, and are ignored.
    """
    return live is None or not (was_applied(desired, live) and says_all(live, desired))


def was_applied(desired: Manifest, live: Manifest) -> bool:
    """Whether `live` was last applied from exactly this, whatever became of it since."""
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    return bool(annotations.get(APPLIED_HASH_ANNOTATION) == _hash(desired))


def says_all(live: Manifest, desired: Manifest) -> bool:
    """Whether all that `desired` says is there, whoever said it."""
    return _holds(live, _without_hash(desired), "", False)


def bound_to(manifest: Manifest, live: Manifest) -> Manifest:
    """The same manifest for this very object: once that is gone, it is refused as a conflict
    instead of making another."""
    uid = live["metadata"].get("uid", "")
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}


def holds(live: Any, desired: Any) -> bool:
    """Whether the value `live` says all that `desired` says, quantities in any spelling."""
    return _holds(live, desired, "", True)


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Manifest:
    """The JSON merge patch (RFC 7386) from `before` to `after`; None marks a removed key.

    Lists are replaced whole: where others may write them, send metadata.resourceVersion too.
    """
    patch: Manifest = {key: None for key in before if key not in after}
    for key, new in after.items():
        old = before.get(key)
        if key in before and old == new and type(old) is type(new):
            continue
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            if nested := merge_patch(old, new):
                patch[key] = nested
        else:
            patch[key] = new
    return patch


def _without_hash(manifest: Manifest) -> Manifest:
    metadata = manifest.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if APPLIED_HASH_ANNOTATION not in annotations:
        return manifest
    kept = {key: value for key, value in annotations.items() if key != APPLIED_HASH_ANNOTATION}
    bare = {key: value for key, value in metadata.items() if key != "annotations"}
    return {**manifest, "metadata": {**bare, "annotations": kept} if kept else bare}


def _hash(manifest: Manifest) -> str:
    canonical = msgspec.json.encode(_without_hash(manifest), order="sorted")
    return hashlib.sha256(canonical).hexdigest()[:16]


def _holds(live: Any, desired: Any, field: str, quantities: bool) -> bool:
    """Whether `live` says all that `desired` says; `quantities` below resource lists."""
    if live is None:
        return not desired  # omitempty: the server drops what is zero
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            _holds(live.get(key), value, key, field in _QUANTITIES)
            for key, value in desired.items()
            if key not in _WRITE_ONLY
        )
    if isinstance(desired, list | tuple):
        return isinstance(live, list | tuple) and _list_holds(list(live), list(desired), field)
    if quantities or field in _QUANTITY_FIELDS:
        return _same_quantity(live, desired)
    return bool(live == desired) and isinstance(live, bool) == isinstance(desired, bool)


def _list_holds(live: list[Any], desired: list[Any], field: str) -> bool:
    if field in _SHARED_SETS:
        return set(desired) <= set(live)
    if field == "ownerReferences":
        return _keyed_hold(live, desired, lambda item: item.get("uid"))
    if _all_named(desired) and _all_named(live):
        return _keyed_hold(live, desired, lambda item: item["name"])
    return len(live) == len(desired) and all(
        _holds(ours, wanted, field, False) for ours, wanted in zip(live, desired, strict=True)
    )


def _all_named(items: list[Any]) -> bool:
    return all(isinstance(item, Mapping) and "name" in item for item in items)


def _keyed_hold(
    live: list[Any], desired: list[Any], key: Callable[[Mapping[str, Any]], Any]
) -> bool:
    found = {key(item): item for item in live}
    return all(_holds(found.get(key(wanted)), wanted, "", False) for wanted in desired)


def _same_quantity(live: Any, desired: Any) -> bool:
    if live == desired:
        return True
    try:
        return quantity.parse(live) == quantity.parse(desired)
    except (ValueError, TypeError, AttributeError):
        return False
