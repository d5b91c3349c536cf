"""An answer of a chat taken apart while it comes: what was thought, said, and called."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.transformers.text import beginning

_OPEN, _CLOSE = "<think>", "</think>"
_MARKERS = ("<tool_call>", "<|python_tag|>", "[TOOL_CALLS]")
"""Of Hermes and Qwen, Llama and Mistral; what follows one is no text for the reader."""
_HERMES = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)
"""The space around is JSON's to pass over: here, each blank of a long row would be tried."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What a piece of text adds."""

    content: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A function that the model calls; the arguments are JSON."""

    id: str
    name: str
    arguments: str

    def document(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


class Dialogue:
    """One answer. `thinks`: the model may begin with its thoughts; `thinking`: the prompt has
    opened them already; `functions`: what it may call."""

    def __init__(
        self, *, thinks: bool = False, thinking: bool = False, functions: Collection[str] = ()
    ) -> None:
        self._undecided = thinks and not thinking
        self._thinking = thinking
        self._functions = frozenset(functions)
        self._held = ""
        self._calling = False
        self._said = False
        self.calls: tuple[Call, ...] = ()
        """After `finish`."""

    def push(self, text: str) -> Delta:
        """What of it can be shown now."""
        text, self._held = self._held + text, ""
        if self._undecided and not self._decide(text):
            return Delta()
        if not self._thinking:
            return Delta(content=self._speak(text))
        thought, closed, rest = text.removeprefix(_OPEN).partition(_CLOSE)
        if closed:
            self._thinking = False
            return Delta(content=self._speak(rest.lstrip("\n")), reasoning=thought)
        return Delta(reasoning=self._hold(thought, [_CLOSE]))

    def finish(self) -> Delta:
        """The rest, and the calls."""
        text, self._held = self._held, ""
        if self._thinking:
            return Delta(reasoning=text)
        if self._calling:
            self.calls = tuple(_calls(text, self._functions))
            return Delta() if self.calls else Delta(content=text)
        return Delta(content=text)

    def _decide(self, text: str) -> bool:
        start = text.lstrip()
        if _OPEN.startswith(start) and start != _OPEN:
            self._held = text
            return False
        self._undecided, self._thinking = False, start.startswith(_OPEN)
        return True

    def _speak(self, text: str) -> str:
        if not self._functions:
            return text
        start = text.lstrip()
        # Without a marker, a call is the whole answer.
        if self._calling or (not self._said and start[:1] in ("{", "[")):
            self._calling, self._held = True, text
            return ""
        places = [text.find(marker) for marker in _MARKERS if marker in text]
        if places:
            self._calling, self._held = True, text[min(places) :]
            return text[: min(places)].rstrip()
        shown = self._hold(text, _MARKERS) if start else ""
        self._held = self._held if start else text
        self._said = self._said or bool(shown)
        return shown

    def _hold(self, text: str, words: Collection[str]) -> str:
        """Without the end of it that may be the beginning of a marker."""
        keep = max(beginning(text, word) for word in words)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _calls(text: str, functions: Collection[str]) -> Iterator[Call]:
    """The calls in an answer's end; none where anything in it is not one."""
    if "<tool_call>" in text:
        documents = [_json(each) for each in _HERMES.findall(text)]
    else:
        bare = text.strip().removeprefix("<|python_tag|>").removeprefix("[TOOL_CALLS]").strip()
        found = _json(bare)
        documents = found if isinstance(found, list) else [found]
        if found is None and ";" in bare:
            documents = [_json(each) for each in bare.split(";")]
    parsed = [_call(each, functions) for each in documents]
    if all(each is not None for each in parsed):
        yield from (each for each in parsed if each is not None)


def _call(document: Any, functions: Collection[str]) -> Call | None:
    if not isinstance(document, Mapping) or str(document.get("name")) not in functions:
        return None
    given = document.get("arguments", document.get("parameters", {}))
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return Call(f"call_{uuid.uuid4().hex[:24]}", str(document["name"]), text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
