"""How one answer is made: what the request asks for, over what the model's makers recommend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the likeliest."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """The likeliest so many; 0 is all."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    """None: chance."""
    logprobs: int | None = None
    """So many likeliest tokens are told beside the chosen one; None tells nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When one answer ends."""

    max_tokens: int
    stop: tuple[str, ...] = ()
    end_tokens: frozenset[int] = frozenset()
    """The model's own, but where the request ignores them, and the request's."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A token. Log probabilities are natural, and of the model: before temperature, penalties and
    bias."""

    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step adds to an answer. The text of a token may come with a later one."""

    text: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class End:
    """`reason` is stop, length, abort or error."""

    reason: str
    error: str = ""


Event = Piece | End
Emit = Callable[[Event], None]
"""Called on the engine's thread."""
