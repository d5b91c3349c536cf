"""The model, a step at a time: what is read or written next by the sequences of a batch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Any

import torch

from serving.transformers import caches

_CACHES = ("past_key_values", "cache_params")
"""How models call what they keep of the text: those with attention, and those with a state."""
_CLOSE = {torch.float32: 1e-3, torch.float64: 1e-3}
_ROUGH = 0.1
"""How far logits may differ for the arithmetic alone, as a share of their range."""


class UnsuitedError(Exception):
    """The model cannot write a text token by token; the message is for the user, in one line."""


@dataclass(slots=True)
class Batch:
    """Sequences that take their steps together; a row of each tensor is a sequence."""

    cache: Any
    mask: torch.Tensor
    """Which places are tokens, and which padding."""
    sequences: list[Any] = field(default_factory=list)

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    def join(self, other: Batch) -> None:
        """The other's sequences go on in this batch."""
        caches.join(self.cache, self.width, other.cache, other.width)
        wide = max(self.width, other.width)
        self.mask = torch.cat([_padded(self.mask, wide), _padded(other.mask, wide)])
        self.sequences += other.sequences

    def keep(self, sequences: Many[Any]) -> None:
        """The others leave, and so does padding that nobody needs any more."""
        rows = [index for index, each in enumerate(self.sequences) if each in sequences]
        self.sequences = [self.sequences[index] for index in rows]
        chosen = torch.tensor(rows, dtype=torch.long, device=self.mask.device)
        mask = self.mask[chosen]
        width = int(mask.sum(dim=1).max()) if rows else 0
        self.mask = mask[:, self.width - width :].contiguous()
        caches.keep(self.cache, chosen, width)


class Runner:
    """One model. Not for several threads."""

    def __init__(self, model: Any) -> None:
        self.model = model
        accepted = inspect.signature(model.forward).parameters
        self._cache = next((name for name in _CACHES if name in accepted), "")
        self._positions = "position_ids" in accepted
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self._config = model.config.get_text_config(decoder=True)
        self.device = model.get_input_embeddings().weight.device
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self.shares = False
        """Whether sequences of different lengths can share a step; see `look`."""
        self.chunks = False
        """Whether a prompt can be read in several steps."""
        self.token_bytes = 0.0
        """What a token of a sequence takes in the cache."""

    def empty(self) -> Batch:
        """Of one sequence that has read nothing."""
        mask = torch.ones((1, 0), dtype=torch.long, device=self.device)
        return Batch(caches.new(self._config), mask)

    def step(self, batch: Batch, tokens: Many[Many[int]]) -> torch.Tensor:
        """Equally many tokens for each sequence; the logits after the last, a row a sequence."""
        with torch.inference_mode():
            return self._step(batch, tokens)

    def _step(self, batch: Batch, tokens: Many[Many[int]]) -> torch.Tensor:
        ids = torch.tensor(tokens, dtype=torch.long, device=self.device)
        batch.mask = torch.cat([batch.mask, torch.ones_like(ids)], dim=1)
        inputs: dict[str, Any] = {"input_ids": ids, self._cache: batch.cache, "use_cache": True}
        if len(ids) > 1:
            # One alone has no padding, and kernels are faster without a mask.
            inputs["attention_mask"] = batch.mask
        if self._positions:
            inputs["position_ids"] = (batch.mask.cumsum(dim=1) - 1)[:, -ids.shape[1] :]
        found = self.model(**inputs, **self._last_only)
        logits: torch.Tensor = found.logits[:, -1]
        return logits

    def survives(self, error: Exception) -> bool:
        """Whether the device can go on after it: of its own errors (which are RuntimeErrors), a
        GPU does after a lack of memory alone."""
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
            return True
        return self.device.type == "cpu" or not isinstance(error, RuntimeError)

    def look(self) -> None:
        """Try what the model can, with words that mean nothing: in two steps, in pieces and
        beside another sequence it must come to the same as in one. UnsuitedError where it cannot
        even go on from what it has read."""
        long, short = self._words(9, 3), self._words(5, 11)
        if not self._cache or not self._agrees([long[:-1], long[-1:]], [long]):
            name = type(self.model).__name__
            raise UnsuitedError(f"{name} keeps nothing of what it has read that this server knows")
        cache = self._read([long])[0].cache
        self.token_bytes = caches.nbytes(cache) / len(long)
        if caches.can_be_shared(cache):
            self.chunks = self._agrees([long[:4], long[4:8], long[8:]], [long])
            self.shares = self._agrees_together([long, short], [[17], [23]])

    def _agrees(self, pieces: Many[Many[int]], whole: Many[Many[int]]) -> bool:
        return _alike(self._read(pieces)[1], self._read(whole)[1])

    def _agrees_together(self, texts: Many[Many[int]], following: Many[list[int]]) -> bool:
        pairs = list(zip(texts, following, strict=True))
        apart = [self._read([text, then])[1] for text, then in pairs]
        first, second = (self._read([text])[0] for text in texts)
        first.join(second)
        together = self.step(first, following)
        return all(_alike(together[row : row + 1], each) for row, each in enumerate(apart))

    def _read(self, pieces: Many[Many[int]]) -> tuple[Batch, torch.Tensor]:
        batch = self.empty()
        for piece in pieces:
            logits = self.step(batch, [piece])
        return batch, logits

    def _words(self, count: int, first: int) -> list[int]:
        return [(first + 7 * number) % self.vocabulary for number in range(count)]


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    spread = float(other.max() - other.min())
    allowed = _CLOSE.get(one.dtype, _ROUGH) * max(spread, 1e-6)
    return float((one - other).abs().max()) <= allowed


def _padded(mask: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(mask, (width - mask.shape[1], 0))
