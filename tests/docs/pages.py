"""The pages that people read, taken apart: links, headings, blocks of code, code in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, or code in a sentence (`info` is "inline")."""

    page: str
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def tokens(self) -> list[Token]:
        return _MARKDOWN.parse(self.path.read_text())

    @cached_property
    def anchors(self) -> set[str]:
        """As a code host makes them from headings."""
        found: set[str] = set()
        for opened, text in zip(self.tokens, self.tokens[1:], strict=False):
            if opened.type == "heading_open":
                slug, count = _slug(text), 0
                while (anchor := f"{slug}-{count}" if count else slug) in found:
                    count += 1
                found.add(anchor)
        return found

    def links(self) -> Iterator[tuple[int, str]]:
        """Line and target of every link and picture."""
        for line, token in self._inline():
            if token.type in {"link_open", "image"}:
                yield line, str(token.attrGet("href") or token.attrGet("src"))

    def blocks(self) -> Iterator[Block]:
        for token in self.tokens:
            if token.type == "fence":
                line = token.map[0] + 1 if token.map else 0
                yield Block(self.name, line, token.info.strip(), token.content)
        for line, token in self._inline():
            if token.type == "code_inline":
                yield Block(self.name, line, "inline", token.content)

    def _inline(self) -> Iterator[tuple[int, Token]]:
        line = 0
        for token in self.tokens:
            line = token.map[0] + 1 if token.map else line
            for child in token.children or ():
                yield line, child


def _slug(heading: Token) -> str:
    text = "".join(
        each.content for each in heading.children or () if each.type in {"text", "code_inline"}
    )
    kept = re.sub(r"[^\w\- ]", "", text.strip().lower())
    return kept.replace(" ", "-")


def pages() -> list[Page]:
    paths = [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted(ROOT.glob("charts/*/README.md")),
    ]
    return [Page(path) for path in paths if path.exists()]


def blocks() -> list[Block]:
    return [block for page in pages() for block in page.blocks()]
