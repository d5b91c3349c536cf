"""Tokens to text as they come, and where a stop string ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

_BROKEN = "\N{REPLACEMENT CHARACTER}"
"""How a decoder shows the first bytes of a character whose last ones are yet to come."""


class Detokenizer:
    """One answer's text. What may be the beginning of a stop string is held back."""

    def __init__(self, decode: Decode, stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(filter(None, stop))
        self._tokens: list[int] = []
        self._context = 0
        """Tokens before this one no longer change how the next ones read."""
        self._read = 0
        self._held = ""
        self.stopped = False
        """Whether a stop string was met; it is not part of the text."""

    def push(self, token: int) -> str:
        """The text that is certain now; may be empty."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._context : self._read])
        text = self._decode(self._tokens[self._context :])
        if len(text) <= len(before) or text.endswith(_BROKEN):
            return ""
        self._context, self._read = self._read, len(self._tokens)
        return self._cut(text[len(before) :])

    def flush(self) -> str:
        """The rest, half a character and half a stop string included."""
        if self.stopped:
            return ""
        before = self._decode(self._tokens[self._context : self._read])
        rest = self._cut(self._decode(self._tokens[self._context :])[len(before) :])
        rest, self._held = rest + self._held, ""
        self._context = self._read = len(self._tokens)
        return rest

    def _cut(self, text: str) -> str:
        text = self._held + text
        places = [(text.find(stop), stop) for stop in self._stop if stop in text]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)[0]]
        keep = max((beginning(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def beginning(text: str, word: str) -> int:
    """How many characters at the end of the text are the beginning of the word."""
    longest = min(len(text), len(word) - 1)
    return next((n for n in range(longest, 0, -1) if word.startswith(text[-n:])), 0)
