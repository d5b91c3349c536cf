"""POST /v1/completions."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from serving.transformers import answers, asking
from serving.transformers.bodies import Completion
from serving.transformers.engine import Engine, Wanted
from serving.transformers.errors import ApiError
from serving.transformers.sampling import Choice, End

_DEFAULT_TOKENS = 16
"""OpenAI's, where the request does not say."""
_MOST_PROMPTS = 128


async def prepare(engine: Engine, body: Completion) -> list[Wanted]:
    """ApiError where it cannot be answered."""
    asking.check_format(body.response_format, "response_format")
    rules = asking.sampling(engine, body, body.logprobs)
    prompts = [await _tokens(engine, each) for each in _prompts(body)]
    return asking.wanted(engine, prompts, rules, body, body.max_tokens or _DEFAULT_TOKENS)


async def complete(engine: Engine, body: Completion, wanted: Sequence[Wanted]) -> dict[str, Any]:
    head = _head(engine, body)
    found = await answers.whole(engine, wanted, head["model"])
    choices = [
        {
            "index": index,
            "text": each.text,
            "logprobs": _logprobs(engine, body, each.choices, 0),
            "finish_reason": each.reason,
        }
        for index, each in enumerate(found)
    ]
    answered = sum(len(each.choices) for each in found)
    return {**head, "choices": choices, "usage": answers.usage(wanted, answered, body.n)}


async def stream(
    engine: Engine, body: Completion, wanted: Sequence[Wanted]
) -> AsyncIterator[dict[str, Any]]:
    head = _head(engine, body)
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    rest: dict[str, Any] = {"usage": None} if with_usage else {}
    answered, offsets = 0, [0] * len(wanted)
    async with aclosing(answers.pieces(engine, wanted, head["model"])) as events:
        async for number, event in events:
            choice: dict[str, Any] = {"index": number, "text": "", "logprobs": None}
            choice["finish_reason"] = event.reason if isinstance(event, End) else None
            if not isinstance(event, End):
                choice["text"] = event.text
                choice["logprobs"] = _logprobs(engine, body, event.choices, offsets[number])
                offsets[number] += len(event.text)
                answered += len(event.choices)
            yield {**head, "choices": [choice], **rest}
    if with_usage:
        counted = answers.usage(wanted, answered, body.n)
        yield {**head, "choices": [], "usage": counted}


def _prompts(body: Completion) -> list[str | list[int]]:
    given = body.prompt
    if isinstance(given, str):
        return [given]
    if all(isinstance(each, int) for each in given):
        return [[each for each in given if isinstance(each, int)]]
    found = [each for each in given if isinstance(each, str | list)]
    if not 0 < len(found) <= _MOST_PROMPTS:
        raise ApiError(f"prompt: give 1 to {_MOST_PROMPTS} of them", param="prompt")
    return found


async def _tokens(engine: Engine, prompt: str | list[int]) -> list[int]:
    if isinstance(prompt, str):
        return await asking.encode(engine, prompt, special=True)
    return asking.checked(engine, prompt)


def _logprobs(
    engine: Engine, body: Completion, choices: Sequence[Choice], offset: int
) -> dict[str, Any] | None:
    if body.logprobs is None:
        return None
    return answers.completion_logprobs(engine.loaded.codec, choices, offset)


def _head(engine: Engine, body: Completion) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": body.model or engine.models()[0].name,
    }
