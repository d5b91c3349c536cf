"""A regular expression as Python's own parser reads it: items of a kind and what they hold."""

from __future__ import annotations

import importlib
from typing import Any

PARSER = importlib.import_module("re._parser")
"""The only description of the syntax that is right for each Python; `sre_parse` is its old name."""
LOOKS_AHEAD = {"AT_BOUNDARY", "AT_NON_BOUNDARY", "AT_END", "AT_END_STRING"}
REPEATS = {"MAX_REPEAT": "", "MIN_REPEAT": "?", "POSSESSIVE_REPEAT": "+"}


def children(item: tuple[Any, Any]) -> list[Any]:
    kind, value = str(item[0]), item[1]
    if kind in REPEATS:
        return [value[2]]
    if kind == "BRANCH":
        return list(value[1])
    if kind == "SUBPATTERN":
        return [value[3]]
    if kind == "ATOMIC_GROUP":
        return [value]
    if kind in ("ASSERT", "ASSERT_NOT"):
        return [value[1]]
    if kind == "GROUPREF_EXISTS":
        return [each for each in value[1:] if each]
    return []


def groups(items: Any, found: dict[int, Any]) -> None:
    for item in items:
        if str(item[0]) == "SUBPATTERN" and item[1][0] is not None:
            found[item[1][0]] = item[1][3]
        for each in children(item):
            groups(each, found)


def refers(items: Any) -> bool:
    return any(
        str(item[0]).startswith("GROUPREF") or any(map(refers, children(item))) for item in items
    )


def excludes(items: Any) -> bool:
    """Whether some character in it is told by what it is not."""
    return any(
        str(item[0]) == "NOT_LITERAL"
        or (str(item[0]) == "IN" and any(map(_negative, item[1])))
        or any(map(excludes, children(item)))
        for item in items
    )


def _negative(part: tuple[Any, Any]) -> bool:
    return str(part[0]) == "NEGATE" or "_NOT_" in str(part[1])


def looks(items: Any) -> bool:
    """Whether it asks for what comes after it."""
    return any(
        (str(item[0]) == "AT" and str(item[1]) in LOOKS_AHEAD)
        or str(item[0]).startswith("ASSERT")
        or any(map(looks, children(item)))
        for item in items
    )


def behind(items: Any) -> int:
    """Characters before a match that its look-behinds see, at most."""
    widest = 0
    for item in items:
        if str(item[0]).startswith("ASSERT") and item[1][0] < 0:
            widest = max(widest, item[1][1].getwidth()[1])
        widest = max([widest, *map(behind, children(item))])
    return widest
