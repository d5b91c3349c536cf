"""Manifests compared field by field, and merged as an apply merges them. Pure."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from apis.kaito import defaults
from kube.meta import Manifest

Path: TypeAlias = tuple[str, ...]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def merged(live: Manifest, given: Manifest, *, byo: bool = False) -> Manifest:
    """What `kubectl apply` makes of it: fields that the last apply set and this one does not are
    taken away, and what others have set stays."""
    meant = defaults.default(given, byo=byo)
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    try:
        last = json.loads(annotations.get(LAST_APPLIED, "{}"))
    except ValueError:
        last = {}
    result = _three_way(live, last if isinstance(last, dict) else {}, meant)
    return {**result, "status": live.get("status", {})}


def changed(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Paths whose values differ, and both values; a list is one value, as an apply has it."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            if path == () and key == "apiVersion":
                continue
            yield from changed(before.get(key), after.get(key), (*path, key))
    elif before != after:
        yield path, before, after


def with_value(document: Manifest, path: Path, value: Any) -> Manifest:
    changed = copy.deepcopy(document)
    parent = changed
    for step in path[:-1]:
        parent = parent.setdefault(step, {})
    if value is None:
        parent.pop(path[-1], None)
    else:
        parent[path[-1]] = value
    return changed


def spelled(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if "/" in step or "." in step else f".{step}"
    return text.removeprefix(".")


def _three_way(live: Manifest, last: Manifest, given: Manifest) -> Manifest:
    kept = {key: value for key, value in live.items() if key not in last or key in given}
    for key, value in given.items():
        there, before = live.get(key), last.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            value = _three_way(there, before if isinstance(before, dict) else {}, value)
        kept[key] = value
    return kept
