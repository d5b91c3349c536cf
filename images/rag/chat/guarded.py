"""Guardrails on answers: whole ones, and those that come in pieces.

Every text of every choice is scanned by itself. Where something was changed, log-probabilities go,
since they spell the original.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rag.chat.leaves import Path, leaves, says_something, tree
from rag.chat.seams import Guardrails, StreamGuard

BLOCKED: Final = "content_filter"
Chunk = dict[str, Any]


async def whole(body: dict[str, Any], guardrails: Guardrails) -> dict[str, Any]:
    """The completion as it may be seen."""
    choices = [await _choice(each, guardrails) for each in body["choices"]]
    return {**body, "choices": choices}


async def _choice(given: Any, guardrails: Guardrails) -> Any:
    if not isinstance(given, dict):
        return await _bare(given, guardrails)
    choice = copy.deepcopy(given)
    changed = False
    for leaf in leaves(choice):
        shown = await guardrails.scan(leaf.text)
        if shown.blocked:
            message = {"role": "assistant", "content": shown.text}
            place = {"index": choice["index"]} if "index" in choice else {}
            return {**place, "message": message, "finish_reason": BLOCKED}
        changed |= shown.text != leaf.text
        leaf.put(shown.text)
    if changed:
        choice.pop("logprobs", None)
    return choice


async def _bare(given: Any, guardrails: Guardrails) -> Any:
    return (await guardrails.scan(given)).text if isinstance(given, str) else given


@dataclass(frozen=True, slots=True)
class Passed:
    """What may be sent on now. Nothing comes after what is blocked."""

    chunks: tuple[Chunk, ...]
    blocked: bool = False


class Pieces:
    """Of one stream: a guard for each text of each choice, in step with the pieces."""

    def __init__(self, guardrails: Guardrails) -> None:
        self._guardrails = guardrails
        self._guards: dict[int, dict[Path, StreamGuard]] = {}
        self._last: Chunk = {}

    def feed(self, given: Mapping[str, Any]) -> Passed:
        chunk = copy.deepcopy(dict(given))
        choices = [each for each in chunk.get("choices") or () if isinstance(each, dict)]
        if not choices:
            return Passed((chunk,))
        self._last = {name: each for name, each in chunk.items() if name != "usage"}
        before: list[Chunk] = []
        for choice in choices:
            passed = self._choice(choice)
            before += passed.chunks
            if passed.blocked:
                return Passed(tuple(before), blocked=True)
        if chunk != given and not _says_something(chunk, choices):  # all of it is held back
            return Passed(tuple(before))
        return Passed((*before, chunk))

    def end(self) -> Passed:
        """What is still held back, of a stream that names no end itself."""
        out: list[Chunk] = []
        for index in tuple(self._guards):
            passed = self._flush(index)
            out += passed.chunks
            if passed.blocked:
                return Passed(tuple(out), blocked=True)
        return Passed(tuple(out))

    def _choice(self, choice: dict[str, Any]) -> Passed:
        """Changes the choice in place; what comes out goes before it."""
        index, changed = choice.get("index", 0), False
        guards = self._guards.setdefault(index, {})
        for leaf in leaves(choice):
            if leaf.path not in guards:
                guards[leaf.path] = self._guardrails.streaming()
            shown = guards[leaf.path].feed(leaf.text)
            if shown.blocked:
                return self._refusal(index, shown.text)
            changed |= shown.text != leaf.text
            leaf.put(shown.text)
        if changed:
            choice.pop("logprobs", None)
        if choice.get("finish_reason") is None:
            return Passed(())
        flushed = self._flush(index)
        if not flushed.chunks:
            return flushed
        return Passed((*self._apart(index, choice), *flushed.chunks), flushed.blocked)

    def _apart(self, index: int, choice: dict[str, Any]) -> Iterator[Chunk]:
        """The texts of a choice's last piece in a piece of their own, since what was held back
        comes after them and before its end."""
        delta = choice.get("delta")
        if isinstance(delta, dict) and says_something(delta):
            yield self._chunk(index, {"delta": delta})
            choice["delta"] = {}

    def _flush(self, index: int) -> Passed:
        out: list[Chunk] = []
        for path, guard in self._guards.pop(index, {}).items():
            shown = guard.end()
            if shown.blocked:
                refusal = self._refusal(index, shown.text)
                return Passed((*out, *refusal.chunks), blocked=True)
            if shown.text:
                out.append(self._chunk(index, tree(path, shown.text)))
        return Passed(tuple(out))

    def _refusal(self, index: int, text: str) -> Passed:
        return Passed(
            (
                self._chunk(index, {"delta": {"content": text}}),
                self._chunk(index, {"delta": {}}, BLOCKED),
            ),
            blocked=True,
        )

    def _chunk(self, index: int, piece: Mapping[str, Any], finish: str | None = None) -> Chunk:
        """As the last one was, with another choice."""
        choice = {"index": index, "delta": {}, **piece, "finish_reason": finish}
        return {**self._last, "choices": [choice]}


def _says_something(chunk: Chunk, choices: list[dict[str, Any]]) -> bool:
    return bool(chunk.get("usage")) or any(
        says_something({name: each for name, each in choice.items() if name != "index"})
        for choice in choices
    )
