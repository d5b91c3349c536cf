"""Headings of a Markdown text: where they are, and what stands under which. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_BLANK = " \t"
_HEADING = re.compile(r"[ ]{0,3}(#{1,6}+)(?![^ \t])(.*)")
_FENCE = re.compile(r"[ ]{0,3}(`{3,}+(?=[^`]*+$)|~{3,}+)(.*)$")
"""Neither goes back over what it has read: a line may be as long as a document."""


@dataclass(frozen=True, slots=True)
class Outline:
    starts: tuple[int, ...]
    """Of the headings, in characters from the beginning of the text."""
    paths: tuple[tuple[str, ...], ...]
    """Of each the headings above it, the largest first, and itself."""
    sections: tuple[int, ...]
    """Where sections begin: at headings, but those that have nothing but a smaller heading under
    them are of one section with it."""

    def above(self, position: int) -> tuple[str, ...]:
        """Those that what begins there stands under; not the one that begins there itself."""
        at = bisect_left(self.starts, position)
        if at < len(self.starts) and self.starts[at] == position:
            return self.paths[at][:-1]
        return self.paths[at - 1] if at else ()


@lru_cache(maxsize=2)
def outline(text: str) -> Outline:
    """Of a text whose chunks ask for it one after another."""
    starts: list[int] = []
    paths: list[tuple[str, ...]] = []
    sections = [0]
    stack: list[tuple[int, str]] = []
    under = False
    """Whether there is text since the last section's beginning."""
    for start, line, heading in _lines(text):
        if heading is None:
            under = under or bool(line.strip())
            continue
        level, words = len(heading[1]), _words(heading[2])
        shallower = [each for each in stack if each[0] < level]
        smaller = bool(stack) and len(shallower) == len(stack)
        if start and (under or not smaller):
            sections.append(start)
        under = False
        stack = [*shallower, (level, words)]
        starts.append(start)
        paths.append(tuple(each for _, each in stack))
    return Outline(tuple(starts), tuple(paths), tuple(sections))


def _words(rest: str) -> str:
    """Of a heading, without the signs that may close it."""
    words = rest.strip(_BLANK)
    open_end = words.rstrip("#")
    return open_end.rstrip(_BLANK) if open_end.endswith((" ", "\t")) else words


def _lines(text: str) -> Iterator[tuple[int, str, re.Match[str] | None]]:
    """With where each begins; headings are those outside of fences."""
    fence = ""
    at = 0
    for whole in text.split("\n"):
        line = whole.rstrip("\r")
        fenced = _FENCE.match(line)
        if fence:
            ends = fenced is not None and fenced[1].startswith(fence) and not fenced[2].strip()
            yield at, line, None
            fence = "" if ends else fence
        else:
            fence = fenced[1] if fenced is not None else ""
            yield at, line, _HEADING.match(line)
        at += len(whole) + 1
