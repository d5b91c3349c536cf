"""Events of the engine gathered into choices, and what they cost: for the two older routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from serving.transformers.codec import Codec
from serving.transformers.engine import Engine, UnknownModelError, Wanted
from serving.transformers.errors import ApiError, unknown_model
from serving.transformers.sampling import Choice, End, Piece


@dataclass(slots=True)
class Gathered:
    """One answer, so far or to its end."""

    text: str = ""
    choices: list[Choice] = field(default_factory=list)
    reason: str = ""


async def pieces(
    engine: Engine, wanted: Sequence[Wanted], model: str
) -> AsyncGenerator[tuple[int, Piece | End], None]:
    """Until all are at their end; ApiError where one cannot go on."""
    left = len(wanted)
    async with aclosing(engine.events(wanted, model)) as events:
        while left:
            try:
                number, event = await anext(events)
            except UnknownModelError:
                raise unknown_model(model) from None
            if isinstance(event, End):
                left -= 1
                if event.reason not in ("stop", "length"):
                    raise ApiError(event.error or "the answer was given up", status=500)
            yield number, event


async def whole(engine: Engine, wanted: Sequence[Wanted], model: str) -> list[Gathered]:
    """All answers, in the order of what was wanted."""
    found = [Gathered() for _ in wanted]
    async with aclosing(pieces(engine, wanted, model)) as events:
        async for number, event in events:
            if isinstance(event, End):
                found[number].reason = event.reason
            else:
                found[number].text += event.text
                found[number].choices += event.choices
    return found


def usage(wanted: Sequence[Wanted], answered: int, count: int = 1) -> dict[str, Any]:
    """Tokens. A prompt that has `count` answers counts once."""
    asked = sum(len(each.prompt) for each in wanted[::count])
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }


def chat_logprobs(codec: Codec, choices: Sequence[Choice]) -> dict[str, Any]:
    """As chats have them: a document a token."""
    return {"content": [_told(codec, each) for each in choices]}


def completion_logprobs(codec: Codec, choices: Sequence[Choice], offset: int) -> dict[str, Any]:
    """As completions have them: a list a quantity. `offset`: where in the text the first is."""
    tokens = [codec.piece(each.token) for each in choices]
    offsets = [offset + sum(map(len, tokens[:number])) for number in range(len(tokens))]
    return {
        "tokens": tokens,
        "token_logprobs": [each.logprob for each in choices],
        "top_logprobs": [
            {codec.piece(token): value for token, value in (*each.top, (each.token, each.logprob))}
            for each in choices
        ],
        "text_offset": offsets,
    }


def _told(codec: Codec, choice: Choice) -> dict[str, Any]:
    found = _token(codec, choice.token, choice.logprob)
    return {**found, "top_logprobs": [_token(codec, *each) for each in choice.top]}


def _token(codec: Codec, token: int, logprob: float) -> dict[str, Any]:
    text = codec.piece(token)
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
