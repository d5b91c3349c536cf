"""From logits to tokens, each sequence by its own rules and with its own dice."""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Any

import torch

from serving.transformers.sampling import Choice, Sampling

_COLDEST = 1e-5
"""Below it the likeliest token is taken, as it would be drawn: dividing by less overflows."""
_LIKELY = 1024
"""So many likeliest tokens mostly hold all of `top_p`, and a vocabulary need not be sorted."""


class Sampler:
    """The choices of one sequence. `prompt` counts for the repetition penalty alone."""

    def __init__(self, sampling: Sampling, prompt: Many[int], device: Any) -> None:
        self._sampling = sampling
        self._prompt = prompt
        self._device = device
        self._seen: torch.Tensor | None = None
        self._counts: torch.Tensor | None = None
        self._bias: tuple[torch.Tensor, torch.Tensor] | None = None
        self._dice: Any = None

    def choose(self, logits: torch.Tensor) -> Choice:
        """The next token of a row of logits, and what is told of it. ArithmeticError where they
        are no numbers, which a GPU would not survive to be asked to draw from."""
        wanted = self._sampling
        raw = logits.float()
        scores = self._adjusted(raw)
        likeliest = scores.max()
        if not torch.isfinite(likeliest):
            raise ArithmeticError("the model's arithmetic overflowed")
        if wanted.temperature < _COLDEST:
            token = int(scores.argmax())
        else:
            token = self._draw(scores - likeliest)
        if self._counts is not None:
            self._counts[token] += 1
        if wanted.logprobs is None:
            return Choice(token)
        known = torch.log_softmax(raw, dim=-1)
        values, tokens = known.topk(wanted.logprobs) if wanted.logprobs else ((), ())
        top = tuple((int(each), float(value)) for each, value in zip(tokens, values, strict=True))
        return Choice(token, float(known[token]), top)

    def _adjusted(self, scores: torch.Tensor) -> torch.Tensor:
        """Penalties as OpenAI defines them, on what was answered; bias on top."""
        wanted = self._sampling
        if wanted.presence_penalty or wanted.frequency_penalty or wanted.repetition_penalty != 1.0:
            counts, seen = self._remembered(scores)
            if wanted.repetition_penalty != 1.0:
                said = (counts > 0) | seen
                strong = torch.where(
                    scores > 0, scores / wanted.repetition_penalty,
                    scores * wanted.repetition_penalty,
                )  # fmt: skip
                scores = torch.where(said, strong, scores)
            scores = scores - wanted.frequency_penalty * counts
            scores = scores - wanted.presence_penalty * (counts > 0)
        if wanted.logit_bias:
            scores = scores.clone()
            tokens, values = self._biased()
            scores[tokens] += values
        return scores

    def _remembered(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._counts is None or self._seen is None:
            self._counts = torch.zeros_like(scores)
            self._seen = torch.zeros_like(scores, dtype=torch.bool)
            self._seen[torch.tensor(list(self._prompt), device=scores.device)] = True
        return self._counts, self._seen

    def _biased(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._bias is None:
            bias = self._sampling.logit_bias
            self._bias = (
                torch.tensor(list(bias), device=self._device),
                torch.tensor(list(bias.values()), device=self._device),
            )
        return self._bias

    def _draw(self, scores: torch.Tensor) -> int:
        """Temperature, then the likeliest `top_k`, then those that make up `top_p`, then those of
        at least `min_p` times the likeliest."""
        wanted = self._sampling
        scores = scores / wanted.temperature
        tokens = None
        if wanted.top_k and wanted.top_k < len(scores):
            scores, tokens = scores.topk(wanted.top_k)
        chances = torch.softmax(scores, dim=-1)
        if wanted.min_p:
            chances = torch.where(chances < wanted.min_p * chances.max(), 0.0, chances)
        if wanted.top_p < 1.0:
            chances, order = _nucleus(chances, wanted.top_p)
            tokens = order if tokens is None else tokens[order]
        drawn = int(torch.multinomial(chances, 1, generator=self._generator()))
        return drawn if tokens is None else int(tokens[drawn])

    def _generator(self) -> Any:
        """Of this sequence alone, so that a seed means the same whoever else is served."""
        if self._dice is None:
            self._dice = torch.Generator(device=self._device)
            if self._sampling.seed is None:
                self._dice.seed()
            else:
                self._dice.manual_seed(self._sampling.seed)
        return self._dice


def _nucleus(chances: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest that together have this share of all chances, one at least; and their order."""
    values, order = chances.topk(min(_LIKELY, len(chances)))
    if float(values.sum()) < share * float(chances.sum()):
        values, order = chances.sort(descending=True)
    before = values.cumsum(dim=-1) - values
    kept = before < share * chances.sum()
    return values[kept], order[kept]
