"""What a reader would type: the commands of a block, as words, without what is output."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.pages import Block

PROGRAMS = ("kubectl", "kaito", "helm", "make", "python")
"""Those whose words are looked at; others (az, gcloud, aws, curl) are a reader's own."""

_HEREDOC = re.compile(r"<<-?\s*'?\"?(\w+)'?\"?")
_NESTED = re.compile(r"\$\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
_SEPARATORS = frozenset({"|", "||", "&&", ";", "&", "(", ")", "{", "}"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True, slots=True)
class Command:
    block: Block
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0].removeprefix(".venv/bin/")

    @property
    def inline(self) -> bool:
        return self.block.info == "inline"

    def __str__(self) -> str:
        return f"{self.block}: {' '.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Typed:
    """A line as it is typed, and what is fed to it."""

    text: str
    document: str = ""


def typed(block: Block) -> Iterator[Typed]:
    """Lines of the block that are commands, each joined with its continuations."""
    lines = iter(block.text.splitlines())
    prompts = any(line.startswith("$ ") for line in block.text.splitlines())
    for line in lines:
        if prompts and not line.startswith("$ "):
            continue
        text = line.removeprefix("$ ")
        while text.rstrip().endswith("\\") and (more := next(lines, None)) is not None:
            text = text.rstrip()[:-1] + " " + more.strip()
        yield Typed(text, _fed(text, lines))


def _fed(text: str, lines: Iterator[str]) -> str:
    if not (mark := _HEREDOC.search(text)):
        return ""
    fed = []
    for line in lines:
        if line.strip() == mark[1]:
            break
        fed.append(line)
    return "\n".join(fed)


def commands(block: Block) -> Iterator[Command]:
    """Every command of the block that starts one of the programs."""
    if block.info not in {"bash", "sh", "console", "", "inline"}:
        return
    for line in typed(block):
        if block.info in {"", "inline"} and line.text.split(" ")[0] not in PROGRAMS:
            continue
        if block.info == "inline" and " " not in line.text:
            continue
        yield from _parts(block, line.text)


def _parts(block: Block, text: str) -> Iterator[Command]:
    for nested in _NESTED.findall(text):
        yield from _parts(block, nested)
    words: list[str] = []
    for word in [*_split(_NESTED.sub("NESTED", _HEREDOC.sub("", text))), ";"]:
        if word not in _SEPARATORS:
            words.append(word)
            continue
        while words and (_ASSIGNMENT.match(words[0]) or words[0] in {"export", "sudo", "time"}):
            words.pop(0)
        if words and words[0].removeprefix(".venv/bin/") in PROGRAMS:
            yield Command(block, tuple(_without_redirections(words)))
        words = []


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    return list(lexer)


def _without_redirections(words: list[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        if re.fullmatch(r"\d?>{1,2}", word):
            next(rest, None)
        elif not re.match(r"\d?>", word):
            yield word
