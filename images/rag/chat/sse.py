"""Server-sent events: bytes to events, however they are cut, and back."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

DONE: Final = "[DONE]"
DONE_EVENT: Final = b"data: [DONE]\n\n"
KEEP_ALIVE: Final = b": keep-alive\n\n"
_MOST: Final = 8 << 20
"""Characters of one event; far more than any completion's piece has."""


class TooLongError(ValueError):
    """An event does not end."""


@dataclass(frozen=True, slots=True)
class Event:
    data: str
    name: str = ""


class Parser:
    """Of one stream, as the HTML standard reads them: lines end with CR, LF or both; lines of data
    are joined; comments, ids and unknown fields are dropped, and an event that does not end."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line: list[str] = []
        self._size = 0
        self._begun = False
        self._after_return = False
        self._data: list[str] = []
        self._name = ""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that are whole with this piece. Raises TooLongError."""
        text = self._decoder.decode(piece)
        if text and not self._begun:
            self._begun, text = True, text.removeprefix("\ufeff")
        if text and self._after_return:
            # A line ended with what was the last of the piece before; of CR LF this is the rest.
            self._after_return, text = False, text.removeprefix("\n")
        self._after_return = text.endswith("\r") if text else self._after_return
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        events = [event for line in lines if (event := self._end_line(line)) is not None]
        self._keep(rest)
        return events

    def _keep(self, part: str) -> None:
        self._line.append(part)
        self._size += len(part)
        if self._size > _MOST:
            raise TooLongError(f"an event of more than {_MOST} characters")

    def _end_line(self, end: str) -> Event | None:
        self._keep(end)
        line = "".join(self._line)
        self._line.clear()
        if line:
            self._field(line)
            return None
        data, name, self._size = self._data, self._name, 0
        self._data, self._name = [], ""
        return Event("\n".join(data), name) if data else None

    def _field(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value


def event(document: Mapping[str, Any]) -> bytes:
    """Half of a surrogate pair, which JSON can spell, becomes a question mark."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + text.encode("utf-8", "replace") + b"\n\n"


def error_event(message: str, *, status: int) -> bytes:
    """As OpenAI's clients know one: they raise it. No [DONE] follows, since nothing is done."""
    return event({"error": {"message": message, "type": "server_error", "code": status}})
