"""What hands took out of a child. Pure.

A field that somebody removes has no owner any more, so the API server cannot tell that it was a
decision. We can, once: what we applied last, to the letter, lacks something. It is written down on
the child, and left out from then on, until the field or that note is touched.

`kubectl scale --replicas=0` is such a removal: a Scale has no 0 on the wire, so nobody owns it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kube.apply import bound_to
from kube.managedfields import ABSENT, Path, replaced, value_at
from kube.meta import Manifest

REMOVED_ANNOTATION = "kaito.sh/removed-by-hand"
_NOTE: Path = ("f:metadata", "f:annotations", f"f:{REMOVED_ANNOTATION}")


def known(wanted: Manifest, there: Manifest) -> tuple[Path, ...]:
    """What was noted, and is out still."""
    return tuple(
        path
        for path in _noted(there)
        if value_at(there, path) in (ABSENT, 0) and value_at(wanted, path) is not ABSENT
    )


def fresh(applied: Manifest, there: Manifest) -> tuple[Path, ...]:
    """What `there` lacks of what it was last applied from."""
    lost = _lost(applied["spec"], there.get("spec") or {})
    return tuple(("f:spec", *path) for path in lost)


def left_out(wanted: Manifest, paths: Iterable[Path], there: Manifest) -> Manifest:
    """`wanted` without these, the note of them included."""
    noted = sorted(paths)
    if not noted:
        return wanted
    left = bound_to(wanted, there)
    for path in noted:
        left = replaced(left, path, ABSENT)
    note = json.dumps(noted, separators=(",", ":"))
    with_note: Manifest = replaced(left, _NOTE, note)
    return with_note


def _noted(there: Manifest) -> Iterator[Path]:
    """A note that we cannot have written says nothing."""
    text = value_at(there, _NOTE)
    try:
        stored = json.loads(text) if isinstance(text, str) else []
        yield from (tuple(path) for path in stored if path and all(map(_is_step, path)))
    except (ValueError, TypeError, AttributeError):
        return


def _is_step(step: str) -> bool:
    """Whether it is a field, or the item of a list by its name."""
    kind, _, text = step.partition(":")
    return kind == "f" or (kind == "k" and isinstance(json.loads(text), dict))


def _lost(wanted: Any, there: Any) -> Iterator[Path]:
    """The topmost values of `wanted` that are not there; what says nothing is never kept."""
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        for key, value in wanted.items():
            taken = key not in there or (key == "replicas" and there[key] == 0)
            if taken and _says_something(value):
                yield (f"f:{key}",)
            elif key in there:
                yield from ((f"f:{key}", *path) for path in _lost(value, there[key]))
    elif _are_named(wanted) and _are_named(there):
        found = {item["name"]: item for item in there}
        for item in wanted:
            step = f"k:{json.dumps({'name': item['name']}, separators=(',', ':'))}"
            if item["name"] not in found:
                yield (step,)
            else:
                yield from ((step, *path) for path in _lost(item, found[item["name"]]))


def _are_named(items: Any) -> bool:
    """A list whose items are told apart by their names."""
    if not isinstance(items, list | tuple):
        return False
    names = [item.get("name") for item in items if isinstance(item, Mapping)]
    return len(names) == len(items) == len(set(names) - {None})


def _says_something(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _any(value.values())
    if isinstance(value, list | tuple):
        return _any(value)
    return bool(value)


def _any(values: Iterable[Any]) -> bool:
    return any(_says_something(value) for value in values)
