"""`json`: the objects in an answer can be read, or are mended."""

from __future__ import annotations

import json
from dataclasses import dataclass

import json_repair

from rag.guardrails.deadline import Deadline
from rag.guardrails.options import Options
from rag.guardrails.scanners.scanner import Scanned, Scanner, Stage

_DECODER = json.JSONDecoder()
_LARGEST = 256 << 10
"""Characters of what is mended; mending cannot be interrupted."""


def build(options: Options) -> Scanner:
    return Json(options.whole("required_elements", 0, 0), repair=options.flag("repair", True))


@dataclass(frozen=True, slots=True)
class _Element:
    """What begins like an object, or is an array and the whole answer."""

    start: int
    end: int
    valid: bool


class Json:
    """A finding where fewer are there than must be, or where one cannot be read."""

    def __init__(self, required: int, *, repair: bool) -> None:
        self._required = required
        self._repair = repair

    def scan(self, text: str, _: Deadline) -> Scanned:
        shown, valid, at, mended, broken = [], 0, 0, 0, 0
        for element in _elements(text):
            given = text[element.start : element.end]
            better = given if element.valid else self._mended(given)
            broken += better is None
            valid += better is not None
            mended += better is not None and not element.valid
            shown += [text[at : element.start], given if better is None else better]
            at = element.end
        shown.append(text[at:])
        hopeless = bool(broken) or valid < self._required
        hits = mended + broken + (valid < self._required)
        return Scanned("".join(shown), hits, hopeless)

    def stream(self) -> Stage | None:
        return None

    def _mended(self, given: str) -> str | None:
        if not self._repair or len(given) > _LARGEST:
            return None
        try:
            found = json_repair.loads(given, skip_json_loads=True)
        except (ValueError, RecursionError):
            return None
        return json.dumps(found, ensure_ascii=False) if isinstance(found, dict | list) else None


def _elements(text: str) -> list[_Element]:
    stripped = text.lstrip()
    if stripped.startswith("["):
        return [_element(text, len(text) - len(stripped), len(text.rstrip()))]
    out: list[_Element] = []
    at = text.find("{")
    while at >= 0:
        element = _element(text, at, _closing(text, at))
        out.append(element)
        at = text.find("{", element.end)
    return out


def _element(text: str, start: int, until: int) -> _Element:
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return _Element(start, until, valid=False)
    return _Element(start, end, valid=True)


def _closing(text: str, start: int) -> int:
    """Past the brace that closes the one at `start`; of an object that is cut off, the end."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return len(text)
