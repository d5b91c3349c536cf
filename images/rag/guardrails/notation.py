"""The smallest parts of a regular expression, in the syntax of `regex`."""

from __future__ import annotations

import itertools
from typing import Any

import regex

from rag.guardrails.tree import LOOKS_AHEAD

IGNORECASE, _MULTILINE, DOTALL, _ASCII = 2, 8, 16, 256
_CLASSES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
_NOT_CLASSES = {f"NOT_{name}": text.upper() for name, text in _CLASSES.items()}
_ASCII_SETS = {"DIGIT": "0-9", "SPACE": r" \t\n\r\f\v", "WORD": "A-Za-z0-9_"}
_WORD = _ASCII_SETS["WORD"]
_ASCII_EDGE = f"(?:(?<=[{_WORD}])(?![{_WORD}])|(?<![{_WORD}])(?=[{_WORD}]))"


def place(kind: str, flags: int) -> str:
    edge = _ASCII_EDGE if flags & _ASCII else r"\b"
    lines = bool(flags & _MULTILINE)
    return {
        "AT_BEGINNING": r"(?:\A|(?<=\n))" if lines else r"\A",
        "AT_BEGINNING_STRING": r"\A",
        "AT_BOUNDARY": edge,
        "AT_NON_BOUNDARY": f"(?!{_ASCII_EDGE})" if flags & _ASCII else r"\B",
        "AT_END": r"(?=\n|\Z)" if lines else r"(?=\n?\Z)",
        "AT_END_STRING": r"\Z",
    }[kind]


def undecided(kind: str, flags: int) -> str | None:
    if kind not in LOOKS_AHEAD:
        return None
    return r"(?=\n?\Z)" if kind == "AT_END" and not flags & _MULTILINE else r"\Z"


def character(code: int) -> str:
    return f"\\U{code:08x}"


def charset(items: Any, flags: int) -> str:
    written = []
    for kind, value in ((str(kind), value) for kind, value in items):
        if kind == "NEGATE":
            written.append("^")
        elif kind == "LITERAL":
            written.append(character(value))
        elif kind == "RANGE":
            written.append(f"{character(value[0])}-{character(value[1])}")
        else:
            written.append(_category(str(value).removeprefix("CATEGORY_"), flags))
    return f"[{''.join(written)}]"


def _category(name: str, flags: int) -> str:
    if not flags & _ASCII:
        return {**_CLASSES, **_NOT_CLASSES}[name]
    if name in _ASCII_SETS:
        return _ASCII_SETS[name]
    wanted = _ASCII_SETS[name.removeprefix("NOT_")]
    return "".join(f"{character(low)}-{character(high)}" for low, high in _complement(wanted))


def _complement(wanted: str) -> list[tuple[int, int]]:
    """The ranges of all characters but these."""
    inside = regex.compile(f"[{wanted}]")
    known = [code for code in range(128) if inside.match(chr(code))]
    edges = [-1, *known, 0x110000]
    return [(a + 1, b - 1) for a, b in itertools.pairwise(edges) if b - a > 1]
