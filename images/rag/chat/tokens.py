"""How many tokens a text is to the model that is served. Nothing is ever downloaded for it.

By the server's own tokenizer where it has a route for that (vLLM, llama.cpp, our images); else by
the tokenizer.json that a setting names; else by an estimate that is rather too high. Exact counts
are kept; what cannot count is not asked again for a while.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

_LOG = logging.getLogger(__name__)
_PIECES: Final = re.compile(r"[A-Za-z]+|[0-9]+|\s+|[^\sA-Za-z0-9]+")
_LETTERS_A_TOKEN: Final = 5
_BEYOND: Final = "\U00010000"
_MARGIN: Final = 1.1
_OFF_LOOP: Final = 20_000
"""Characters whose estimate takes longer than an event loop should be held."""

_Key = tuple[str | None, bytes]


class CountError(Exception):
    """This tokenizer is not to be had."""


class Tokenizer(Protocol):
    async def count(self, texts: Sequence[str], model: str | None) -> list[int]:
        """Without special tokens. Raises CountError."""
        ...


def ceiling(text: str) -> int:
    """No tokenizer makes more of it: a token has a byte at least, and one may be put in front."""
    return len(text.encode("utf-8", "surrogatepass")) + 1


def estimate(text: str) -> int:
    """Rather too many than too few: a tenth more than words of five letters, single digits and
    single signs would be."""
    return math.ceil(_MARGIN * sum(_size(each[0]) for each in _PIECES.finditer(text)))


def _size(piece: str) -> int:
    first = piece[0]
    if first.isspace():
        return int(len(piece) > 1 or piece == "\n")
    if first.isascii() and first.isalpha():
        return 1 + (len(piece) - 1) // _LETTERS_A_TOKEN
    return len(piece) + sum(each >= _BEYOND for each in piece)


class Tokens:
    """Counts for all requests; what it keeps depends on model and text alone."""

    def __init__(
        self,
        tokenizers: Sequence[Tokenizer],
        *,
        kept: int = 65_536,
        rest: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokenizers = tuple(tokenizers)
        self._counts: OrderedDict[_Key, int] = OrderedDict()
        self._kept = kept
        self._rest = rest
        self._clock = clock
        self._resting: OrderedDict[tuple[int, str | None], float] = OrderedDict()

    async def count(self, texts: Sequence[str], model: str | None) -> list[int]:
        """Never fails. Of a model, since servers with adapters have one tokenizer each."""
        keys = [_key(text, model) for text in texts]
        known = {key: self._recall(key) for key in keys if key in self._counts}
        missing = {
            key: text for key, text in zip(keys, texts, strict=True) if text and key not in known
        }
        found = await self._find(missing, model) if missing else {}
        counts = {**known, **found}
        return [counts[key] if text else 0 for key, text in zip(keys, texts, strict=True)]

    async def _find(self, missing: dict[_Key, str], model: str | None) -> dict[_Key, int]:
        texts = list(missing.values())
        for place, tokenizer in enumerate(self._tokenizers):
            if self._rests(place, model):
                continue
            try:
                counts = await tokenizer.count(texts, model)
            except CountError as error:
                _LOG.warning("tokens are counted otherwise for %.0f s: %s", self._rest, error)
                self._let_rest(place, model)
                continue
            found = dict(zip(missing, counts, strict=True))
            self._keep(found)
            return found
        return dict(zip(missing, await _estimates(texts), strict=True))

    def _recall(self, key: _Key) -> int:
        self._counts.move_to_end(key)
        return self._counts[key]

    def _keep(self, found: dict[_Key, int]) -> None:
        self._counts.update(found)
        while len(self._counts) > self._kept:
            self._counts.popitem(last=False)

    def _rests(self, place: int, model: str | None) -> bool:
        return self._clock() < self._resting.get((place, model), float("-inf"))

    def _let_rest(self, place: int, model: str | None) -> None:
        self._resting[place, model] = self._clock() + self._rest
        while len(self._resting) > self._kept:
            self._resting.popitem(last=False)


async def _estimates(texts: Sequence[str]) -> list[int]:
    if sum(map(len, texts)) < _OFF_LOOP:
        return [estimate(each) for each in texts]
    return await asyncio.to_thread(lambda: [estimate(each) for each in texts])


def _key(text: str, model: str | None) -> _Key:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    return model, digest.digest()
