"""Regular expressions, and the question that streams ask: can something that begins here still
become a match?

Patterns are read as Python's `re` reads them and run by `regex`, which takes a time limit and lets
other threads run meanwhile. Of each a second pattern is derived, `alive`: it matches where a match
has begun that only more text can decide. Up to the first such place nothing can change any more,
so that much of a stream may go, and no more has to be held back. Where an exact answer would cost
too much (back references, groups that are conditions) `alive` holds back more, never less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import regex

from rag.guardrails import notation, tree
from rag.guardrails.errors import PolicyError

_OPAQUE = "(?!(?!))"
"""Nothing, at length."""
_ANYTHING = 1 << 20
"""Wider than any text that is looked at."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Ready to be run."""

    exact: Any
    """Compiled; groups are numbered and named as in what was given."""
    alive: str
    """To be compiled together with those of others."""
    behind: int
    """Characters before a match that it may look at."""
    narrowest: int
    """Characters of the shortest match."""


def read(text: str, flags: int = 0, *, one_line: bool = False) -> Pattern:
    """Raises PolicyError. With `one_line` nothing that is matched contains a line's end."""
    try:
        found = tree.PARSER.parse(text, flags)
        whole = found.state.flags
        groups: dict[int, Any] = {}
        tree.groups(found, groups)
        exact = _Writer(groups, one_line=one_line).sequence(found, whole)
        alive = _Alive(groups, one_line=one_line).end(found, whole)
        narrowest = found.getwidth()[0]
        return Pattern(regex.compile(exact), alive or "(?!)", 1 + tree.behind(found), narrowest)
    except (ValueError, OverflowError, RecursionError, regex.error, tree.PARSER.error) as error:
        raise PolicyError(f"{text!r} is not a valid regular expression: {error}") from error


def first_alive(patterns: Sequence[Pattern]) -> Any:
    """Compiled: its first match begins where the first of them is not decided."""
    return regex.compile("|".join(f"(?:{each.alive})" for each in patterns) or r"\Z")


@dataclass(slots=True)
class _Writer:
    """The parsed pattern as text again, in the syntax of `regex`, each flag where it holds."""

    groups: dict[int, Any]
    one_line: bool = False
    exact: bool = True
    """False: a little more than the pattern matches, and no groups."""
    _names: dict[int, str] = field(default_factory=dict)

    def sequence(self, items: Any, flags: int) -> str:
        written = "".join(self.item(each, flags) for each in items)
        return f"(?i:{written})" if flags & notation.IGNORECASE else f"(?-i:{written})"

    def item(self, item: tuple[Any, Any], flags: int) -> str:
        kind, value = str(item[0]), item[1]
        if kind in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return self._consuming(kind, value, flags)
        if kind in tree.REPEATS:
            return self._repeated(kind, value, flags)
        if kind == "AT":
            return notation.place(str(value), flags)
        return self._structure(kind, value, flags)

    def _structure(self, kind: str, value: Any, flags: int) -> str:
        if kind == "BRANCH":
            return self._either(value[1], flags)
        if kind == "SUBPATTERN":
            group, more, fewer, inner = value
            written = self.sequence(inner, (flags | more) & ~fewer)
            return f"({'' if group is not None and self.exact else '?:'}{written})"
        if kind == "ATOMIC_GROUP":
            return f"(?{'>' if self.exact else ':'}{self.sequence(value, flags)})"
        if kind in ("ASSERT", "ASSERT_NOT"):
            direction, inner = value
            if not self.exact and tree.refers(inner):
                return ""
            sign = "=" if kind == "ASSERT" else "!"
            return f"(?{'<' if direction < 0 else ''}{sign}{self.sequence(inner, flags)})"
        if kind == "GROUPREF":
            return rf"\g<{value}>" if self.exact else self.sequence(self.groups[value], flags)
        if kind == "GROUPREF_EXISTS":
            return self._condition(value, flags)
        raise PolicyError(f"{kind.lower()} is not known in regular expressions here")

    def _condition(self, value: Any, flags: int) -> str:
        group, yes, no = value
        if not self.exact:
            return self._either([yes, no or []], flags)
        return f"(?({group}){self.sequence(yes, flags)}|{self.sequence(no or [], flags)})"

    def _either(self, each: Sequence[Any], flags: int) -> str:
        """`regex` makes one set of alternatives that are single characters, and gets it wrong
        where those are excluding ones; what it does not see through, it leaves alone."""
        written = [self.sequence(one, flags) for one in each]
        opaque = _OPAQUE if any(map(tree.excludes, each)) else ""
        return f"(?:{'|'.join(opaque + one for one in written)})"

    def _repeated(self, kind: str, value: Any, flags: int) -> str:
        least, most, inner = value
        times = f"{{{least},{'' if most == tree.PARSER.MAXREPEAT else most}}}"
        sign = tree.REPEATS[kind] if self.exact or kind != "POSSESSIVE_REPEAT" else ""
        return f"(?:{self.sequence(inner, flags)}){times}{sign}"

    def _consuming(self, kind: str, value: Any, flags: int) -> str:
        if kind == "ANY":
            written = r"[\s\S]" if flags & notation.DOTALL else r"[^\n]"
        elif kind == "IN":
            written = notation.charset(value, flags)
        else:
            written = notation.character(value)
            written = written if kind == "LITERAL" else f"[^{written}]"
        return rf"(?!\n){written}" if self.one_line and _may_end_line(written) else written


@dataclass(slots=True)
class _Alive(_Writer):
    """`end(x)`: a beginning of `x` that the end of the text cuts off; None where none can be."""

    exact: bool = False

    def end(self, items: Any, flags: int) -> str | None:
        found: str | None = None
        for item in reversed(list(items)):
            ends = self._end_of(item, flags)
            if found is not None:
                found = f"{self._wrapped(item, flags)}{found}"
                found = f"(?:{ends}|{found})" if ends is not None else found
            else:
                found = ends
        return found

    def _wrapped(self, item: tuple[Any, Any], flags: int) -> str:
        return self.sequence([item], flags)

    def _end_of(self, item: tuple[Any, Any], flags: int) -> str | None:
        kind, value = str(item[0]), item[1]
        if kind in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return r"\Z"
        if kind in tree.REPEATS:
            return self._end_of_repeat(value, flags)
        if kind == "AT":
            return notation.undecided(str(value), flags)
        if kind == "BRANCH":
            return _either([self.end(each, flags) for each in value[1]])
        if kind == "SUBPATTERN":
            return self.end(value[3], (flags | value[1]) & ~value[2])
        if kind == "ATOMIC_GROUP":
            return self.end(value, flags)
        if kind in ("ASSERT", "ASSERT_NOT"):
            return self._end_of_look(*value)
        if kind == "GROUPREF":
            return self.end(self.groups[value], flags)
        return _either([self.end(value[1], flags), self.end(value[2] or [], flags)])

    def _end_of_repeat(self, value: Any, flags: int) -> str | None:
        _, most, inner = value
        ends = self.end(inner, flags)
        if ends is None or most == 0:
            return None
        times = "*" if most == tree.PARSER.MAXREPEAT else f"{{0,{most - 1}}}"
        return f"(?:{self.sequence(inner, flags)}){times}{ends}"

    def _end_of_look(self, direction: int, inner: Any) -> str | None:
        """Undecided while it could see past the end."""
        width = inner.getwidth()[1] if direction > 0 else 0
        if tree.looks(inner):
            width = _ANYTHING
        if width >= _ANYTHING:
            return ""
        return rf"(?=[\s\S]{{0,{width - 1}}}\Z)" if width else None


def _may_end_line(written: str) -> bool:
    return regex.match(written, "\n") is not None


def _either(ends: Sequence[str | None]) -> str | None:
    some = [each for each in ends if each is not None]
    return f"(?:{'|'.join(some)})" if some else None
