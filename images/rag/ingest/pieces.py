"""Where a text is cut: sentences, Markdown's sections, code by its syntax tree.

What is too long is divided as llama-index-core divides it (`fitting`), and merged into chunks as
its SentenceSplitter merges; by positions, since a chunk that is searched for in its text may be
found in the wrong place.
Code is cut much as its CodeSplitter does, without what that loses (the end of a node behind its
last child), what it refuses (files that begin with a mistake) and what it ends at (deep nesting).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tree_sitter_language_pack import get_parser

from rag.errors import InvalidError
from rag.ingest import fitting
from rag.ingest.outline import outline
from rag.ingest.tokens import Counter

Span = tuple[int, int]
"""Of a text, in characters."""
Above = Callable[[int], int]
"""How many tokens are set before what begins at a position."""

_CRUMBS = 4
"""What is smaller than such a part of a chunk goes together with what comes next."""
_AROUND = 2
"""Tokens that most models set around a text."""


@dataclass(frozen=True, slots=True)
class Sizes:
    chunk_tokens: int
    """With those that the model sets around a text, and those of what is set before it."""
    overlap_tokens: int
    code_bytes: int

    def room(self, above: int = 0) -> int:
        """For the text itself; half of it at least."""
        return max(self.chunk_tokens - _AROUND - above, self.chunk_tokens // 2)


class Cutter:
    """Spans without space around them, in the text's order; only space is in none of them."""

    def __init__(self, sizes: Sizes, counter: Counter) -> None:
        self._sizes = sizes
        self._counter = counter

    def text(self, text: str, above: Above) -> Iterator[Span]:
        """By paragraphs and sentences; what is short enough is left whole."""
        return self._fitting(text, [(0, len(text))], above)

    def markdown(self, text: str, above: Above) -> Iterator[Span]:
        """By sections, then as text."""
        begins = (*outline(text).sections, len(text))
        return self._fitting(text, pairwise(begins), above)

    def code(self, text: str, language: str, above: Above) -> Iterator[Span]:
        """By the syntax tree, so that functions stay whole; what is too long for the model, as
        text. InvalidError for an unknown language."""
        root = _parser(language).parse(text.encode()).root_node
        return self._fitting(text, _code_spans(text, root, self._sizes.code_bytes), above)

    def _fitting(self, text: str, spans: Iterable[Span], above: Above) -> Iterator[Span]:
        whole = [each for each in (_stripped(text, *span) for span in spans) if each[0] < each[1]]
        lengths = self._counter.count([text[start:end] for start, end in whole])
        for (start, end), tokens in zip(whole, lengths, strict=True):
            # What begins under a heading has it above; the heading itself has not.
            room = self._sizes.room(max(above(start), above(end - 1)))
            if tokens <= room:
                yield start, end
            else:
                for first, last in self._divided(text[start:end], room):
                    yield start + first, start + last

    def _divided(self, text: str, room: int) -> Iterator[Span]:
        overlap = min(self._sizes.overlap_tokens, room // 2)
        parts = fitting.parts(text, room, self._counter)
        covered = 0
        for start, end in _merged(parts, room, overlap):
            first, last = _stripped(text, start, end)
            if first < last and last > covered:  # else all that is new in it is space
                covered = last
                yield first, last


def _merged(parts: list[fitting.Part], room: int, overlap: int) -> Iterator[Span]:
    """As many as there is room for; the next takes of the last ones as many as `overlap` allows,
    and leaves those that would keep the next part out."""
    ends = [0]
    for characters, _ in parts:
        ends.append(ends[-1] + characters)
    first = begun = size = 0
    for at, (_, tokens) in enumerate(parts):
        if size + tokens > room and at > begun:
            yield ends[first], ends[at]
            lowest, first, size, begun = first, at, 0, at
            while first > lowest and size + parts[first - 1][1] <= overlap:
                first -= 1
                size += parts[first][1]
            while first < at and size + tokens > room:
                size -= parts[first][1]
                first += 1
        size += tokens
    yield ends[first], ends[-1]


def _code_spans(text: str, root: Any, most: int) -> Iterator[Span]:
    """Neighbours together up to `most` bytes; what is longer is opened, and starts and ends at a
    cut, unless that would leave crumbs. A stack and no recursion: machines write what is nested
    thousands deep."""
    content = text.encode()
    at = 0

    def span(begin: int, end: int) -> Span:
        nonlocal at
        start, at = at, at + len(content[begin:end].decode())
        return start, at

    begin = last = 0
    todo = [root]
    while todo:
        node = todo.pop()
        opened = node is not None and node.end_byte - node.start_byte > most and node.children
        if node is None or opened:
            full = last - begin >= most // _CRUMBS
        else:
            full = last > begin and node.end_byte - begin > most
        if full:
            yield span(begin, last)
            begin = last
        if opened:
            todo += [None, *reversed(node.children)]  # None: cut here
        elif node is not None:
            last = max(last, node.end_byte)
    yield span(begin, len(content))


def _parser(language: str) -> Any:
    """A new one, since none may be used in two threads."""
    try:
        return get_parser(language)  # type: ignore[arg-type]
    except LookupError:
        raise InvalidError(
            f"language {language!r} is not known; write it as tree-sitter does, as python or go",
            *("metadata", "language"),
        ) from None


def _stripped(text: str, start: int, end: int) -> Span:
    """Without the space around it."""
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    return start, max(start, end - len(part) + len(part.rstrip()))
