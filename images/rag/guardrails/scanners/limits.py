"""`reading_time` and `token_limit`: answers that are too long, and are cut."""

from __future__ import annotations

import re

import tiktoken

from rag.guardrails.deadline import Deadline
from rag.guardrails.options import Options
from rag.guardrails.scanners import encodings
from rag.guardrails.scanners.scanner import Scanned, Scanner, Stage

WORDS_A_MINUTE = 200
_WORD = re.compile(r"\S+")


def reading_time(options: Options) -> Scanner:
    """`truncate` is upstream's; here redacting cuts in any case, as there is nothing else that it
    could mean, and blocking blocks."""
    options.flag("truncate", False)
    return ReadingTime(options.positive("max_time"))


class ReadingTime:
    def __init__(self, minutes: float) -> None:
        self._words = int(minutes * WORDS_A_MINUTE)

    def scan(self, text: str, _: Deadline) -> Scanned:
        end = 0
        for count, word in enumerate(_WORD.finditer(text)):
            if count == self._words:
                return Scanned(text[:end], 1)
            end = word.end()
        return Scanned(text)

    def stream(self) -> Stage | None:
        return None


def token_limit(options: Options) -> Scanner:
    limit = options.whole("limit", 4096, 1)
    encoding, model = options.text("encoding_name", "cl100k_base"), options.text("model_name", "")
    try:
        return TokenLimit(limit, encodings.of_model(model) if model else encodings.named(encoding))
    except KeyError:
        name, given = ("model_name", model) if model else ("encoding_name", encoding)
        raise options.wrong(name, f"is {given!r}, which tiktoken does not know") from None


class TokenLimit:
    def __init__(self, limit: int, encoding: tiktoken.Encoding) -> None:
        self._limit = limit
        self._encoding = encoding

    def scan(self, text: str, _: Deadline) -> Scanned:
        tokens = self._encoding.encode_ordinary(text)
        if len(tokens) <= self._limit:
            return Scanned(text)
        return Scanned(self._encoding.decode(tokens[: self._limit], errors="ignore"), 1)

    def stream(self) -> Stage | None:
        return None
