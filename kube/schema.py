"""An object against a structural schema, as an API server would judge it, without one. Pure.

CEL rules are not evaluated: who owns a kind states them in Python as well.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from kube.meta import Manifest

_STRINGS: Manifest = {"type": "object", "additionalProperties": {"type": "string"}}
OBJECT_META: Manifest = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "generateName": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "finalizers": {"type": "array", "items": {"type": "string"}},
    },
    "x-kubernetes-preserve-unknown-fields": True,
}
"""What users write in `metadata`; a CRD does not describe it, but the API server knows it."""


class Violation(NamedTuple):
    """What is wrong, and where."""

    path: str
    message: str


def violations(manifest: Manifest, schema: Manifest) -> list[Violation]:
    """All that the schema refuses in a whole object, unknown fields included."""
    properties = {**schema["properties"], "metadata": OBJECT_META}
    return list(_check(manifest, {**schema, "properties": properties}, ""))


def _check(value: object, schema: Manifest, path: str) -> Iterator[Violation]:
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        kinds: tuple[str, ...] = ("integer", "string")
    else:
        kinds = (schema["type"],)
    if not any(_is(value, kind) for kind in kinds):
        yield Violation(path, f"must be {_article(' or '.join(kinds))}, not {_shown(value)}")
        return
    yield from _check_value(value, schema, path)
    if isinstance(value, dict):
        yield from _check_object(value, schema, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path)


def _check_object(value: Mapping[Any, Any], schema: Manifest, path: str) -> Iterator[Violation]:
    properties: Mapping[str, Manifest] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield Violation(_below(path, name), "must be set")
    others = schema.get("additionalProperties")
    for name, below in value.items():
        if name in properties:
            yield from _check(below, properties[name], _below(path, name))
        elif isinstance(others, dict):
            yield from _check(below, others, f"{path}[{name}]")
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield Violation(_below(path, str(name)), f"unknown field{_near(name, properties)}")
    limit = schema.get("maxProperties")
    if limit is not None and len(value) > limit:
        yield Violation(path, f"has {len(value)} entries, more than {limit}")


def _check_list(value: list[Any], schema: Manifest, path: str) -> Iterator[Violation]:
    limit = schema.get("maxItems")
    if limit is not None and len(value) > limit:
        yield Violation(path, f"has {len(value)} items, more than {limit}")
    for at, item in enumerate(value):
        yield from _check(item, schema["items"], f"{path}[{at}]")


def _check_value(value: object, schema: Manifest, path: str) -> Iterator[Violation]:
    if "enum" in schema and value not in schema["enum"]:
        choices = " or ".join(f'"{choice}"' for choice in schema["enum"])
        yield Violation(path, f"{_shown(value)} is not one of {choices}")
    if isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and value < low:
            yield Violation(path, f"{value} is less than {low}")
        if high is not None and value > high:
            yield Violation(path, f"{value} is more than {high}")


def _check_text(value: str, schema: Manifest, path: str) -> Iterator[Violation]:
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if shortest is not None and len(value) < shortest:
        yield Violation(path, "must not be empty" if shortest == 1 else f"is under {shortest}")
    if longest is not None and len(value) > longest:
        yield Violation(path, f"has {len(value)} characters, more than {longest}")
    pattern = schema.get("pattern")
    if pattern is not None and not _compiled(pattern).search(value):
        yield Violation(path, f"{_shown(value)} does not match {pattern}")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """RE2's `$` is the end of the text; Python's would let a newline follow."""
    return re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern))


def _is(value: object, kind: str) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case _:
            return isinstance(value, int | float) and not isinstance(value, bool)


_TYPE_NAMES = {dict: "an object", list: "a list", type(None): "empty"}


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return f"{str(value).lower()} (quote it to make it a string)"
    return _TYPE_NAMES.get(type(value)) or str(value)


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeio' else 'a'} {kind}"


def _near(name: object, known: Mapping[str, Manifest]) -> str:
    spelled = {each.lower(): each for each in known}
    near = difflib.get_close_matches(str(name).lower(), spelled, n=1, cutoff=0.6)
    return f'; did you mean "{spelled[near[0]]}"?' if near else ""


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
