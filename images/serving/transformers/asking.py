"""From a request's body to what the engine is asked: prompts within the context, and rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from serving.transformers import errors
from serving.transformers.bodies import Completed, Message, Sampled
from serving.transformers.codec import PromptError
from serving.transformers.engine import Engine, NotReadyError, UnknownModelError, Wanted
from serving.transformers.errors import ApiError
from serving.transformers.sampling import Limits, Sampling

_NO_GRAMMAR = (
    "this engine cannot hold an answer to a format: leave it out and say the format in the prompt,"
    " or use the vllm runtime"
)


def check_model(engine: Engine, name: str) -> None:
    """404 for a name that is not served, 503 before there is a model."""
    try:
        if not engine.ready:
            raise NotReadyError
        engine.handle(name)
    except NotReadyError:
        raise ApiError("the model is still loading", status=503, code="loading") from None
    except UnknownModelError:
        raise errors.unknown_model(name) from None


def check_format(given: Mapping[str, Any] | None, param: str) -> None:
    """Text is what every answer is; anything else would have to be forced."""
    if given and given.get("type", "text") != "text":
        raise ApiError(f"{param} {given['type']!r}: {_NO_GRAMMAR}", param=param)


def check_tool_choice(choice: Any) -> None:
    if choice not in (None, "auto", "none"):
        raise ApiError(
            "tool_choice: this engine cannot force a call: use auto or none, or the vllm runtime",
            param="tool_choice",
        )


def sampling(engine: Engine, body: Sampled, logprobs: int | None = None) -> Sampling:
    """The request's, then the makers', then OpenAI's own: temperature 1 and all tokens."""
    made = dict(engine.loaded.recommended)
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
    given = {name: getattr(body, name, None) for name in names}
    chosen = made | {name: value for name, value in given.items() if value is not None}
    chosen["top_k"] = max(0, chosen.get("top_k", 0))
    found = Sampling(logprobs=logprobs, **chosen)
    if not isinstance(body, Completed):
        return found
    bias = body.logit_bias or {}
    _check_tokens(engine, bias, "logit_bias")
    return replace(
        found,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        logit_bias=bias,
    )


def wanted(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    rules: Sampling,
    body: Sampled,
    most: int | None,
) -> list[Wanted]:
    """So many answers a prompt, each with dice of its own; 400 where the context is too short."""
    context, count = engine.loaded.context, getattr(body, "n", 1)
    found = []
    for prompt in prompts:
        room = context - len(prompt)
        if room < (most or 1):
            raise errors.too_long(len(prompt), most or 1, context)
        limits = _limits(engine, body, most or room)
        for number in range(count):
            seed = None if rules.seed is None else rules.seed + number
            found.append(Wanted(prompt, replace(rules, seed=seed), limits))
    return found


async def encode(engine: Engine, text: str, *, special: bool) -> list[int]:
    """Not on the event loop: a long text takes a while."""
    found = await asyncio.to_thread(engine.loaded.codec.encode, text, special=special)
    return checked(engine, found)


def checked(engine: Engine, tokens: Sequence[int]) -> list[int]:
    _check_tokens(engine, tokens, "prompt")
    if not tokens:
        raise ApiError("prompt: there is nothing to go on from", param="prompt")
    return list(tokens)


async def chat(
    engine: Engine,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    more: Mapping[str, Any],
) -> tuple[str, list[int]]:
    """The prompt of a conversation, as text and as tokens."""
    try:
        text = await asyncio.to_thread(engine.loaded.codec.chat, messages, tools, more)
    except PromptError as error:
        raise ApiError(str(error), param="messages") from error
    # The template has put in what begins a text.
    return text, await encode(engine, text, special=False)


def turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """As templates want them: content is text, and a call's arguments are a map."""
    return [_turn(number, each) for number, each in enumerate(messages)]


def text_of(content: Any, path: str) -> str:
    """Text, or the text of its parts; 400 for a part that is something else."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ApiError(f"{path}: must be a text or a list of parts", param=path)
    return "".join(_parts(content, path))


def _parts(content: list[Any], path: str) -> Iterator[str]:
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            yield part["text"]
        elif kind == "refusal":
            yield str(part.get("refusal", ""))
        else:
            field = f"{path}[{number}]"
            raise ApiError(f"{field}: {kind!r} is not taken here, only text is", param=field)


def _turn(number: int, message: Message) -> dict[str, Any]:
    path = f"messages[{number}].content"
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    found: dict[str, Any] = {"role": role, "content": text_of(message.content, path)}
    for name in ("name", "tool_call_id", "reasoning_content"):
        if value := getattr(message, name):
            found[name] = value
    if message.tool_calls:
        found["tool_calls"] = [_call(each, number) for each in message.tool_calls]
    return found


def _call(given: Mapping[str, Any], number: int) -> dict[str, Any]:
    field = f"messages[{number}].tool_calls"
    try:
        function = dict(given["function"])
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            function["arguments"] = json.loads(arguments or "{}")
        return {"type": "function", "id": given.get("id", ""), "function": function}
    except (KeyError, TypeError, ValueError) as error:
        raise ApiError(
            f"{field}: each needs a function with a name and arguments in JSON", param=field
        ) from error


def _limits(engine: Engine, body: Sampled, most: int) -> Limits:
    if not isinstance(body, Completed):
        return Limits(max_tokens=most, end_tokens=engine.loaded.end_tokens)
    own = frozenset() if body.ignore_eos else engine.loaded.end_tokens
    return Limits(
        max_tokens=most, stop=tuple(body.stop), end_tokens=own | frozenset(body.stop_token_ids)
    )


def _check_tokens(engine: Engine, tokens: Any, param: str) -> None:
    size = engine.loaded.runner.vocabulary
    for token in tokens:
        if not 0 <= token < size:
            raise ApiError(f"{param}: {token} is no token of this model's {size}", param=param)
