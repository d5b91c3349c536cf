"""POST /v1/chat/completions."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from serving.transformers import answers, asking
from serving.transformers.bodies import Chat
from serving.transformers.dialogue import Call, Delta, Dialogue
from serving.transformers.engine import Engine, Wanted
from serving.transformers.errors import ApiError
from serving.transformers.sampling import Choice, End


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that can be answered."""

    wanted: list[Wanted]
    model: str
    thinking: bool
    functions: tuple[str, ...]

    def dialogue(self, engine: Engine) -> Dialogue:
        return Dialogue(
            thinks=engine.loaded.codec.thinks, thinking=self.thinking, functions=self.functions
        )


async def prepare(engine: Engine, body: Chat) -> Prepared:
    """ApiError where it cannot be answered."""
    asking.check_format(body.response_format, "response_format")
    asking.check_tool_choice(body.tool_choice)
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError("top_logprobs: set logprobs to true as well", param="top_logprobs")
    tools = [] if body.tool_choice == "none" else body.tools or []
    rules = asking.sampling(engine, body, (body.top_logprobs or 0) if body.logprobs else None)
    text, tokens = await asking.chat(
        engine,
        asking.turns(body.messages),
        [each.model_dump(exclude_none=True) for each in tools],
        body.chat_template_kwargs or {},
    )
    most = body.max_completion_tokens or body.max_tokens
    return Prepared(
        asking.wanted(engine, [tokens], rules, body, most),
        body.model or engine.models()[0].name,
        engine.loaded.codec.thinks and text.rstrip().endswith("<think>"),
        tuple(each.function.name for each in tools),
    )


async def complete(engine: Engine, body: Chat, prepared: Prepared) -> dict[str, Any]:
    found = await answers.whole(engine, prepared.wanted, prepared.model)
    choices = []
    for index, each in enumerate(found):
        dialogue = prepared.dialogue(engine)
        first, last = dialogue.push(each.text), dialogue.finish()
        message: dict[str, Any] = {
            "role": "assistant",
            "content": first.content + last.content,
        }
        if thought := first.reasoning + last.reasoning:
            message["reasoning_content"] = thought
        if dialogue.calls:
            message["content"] = message["content"] or None
            message["tool_calls"] = [call.document() for call in dialogue.calls]
        choices.append(
            {
                "index": index,
                "message": message,
                "logprobs": _logprobs(engine, body, each.choices),
                "finish_reason": "tool_calls" if dialogue.calls else each.reason,
            }
        )
    answered = sum(len(each.choices) for each in found)
    return {
        **_head("chat.completion", prepared.model),
        "choices": choices,
        "usage": answers.usage(prepared.wanted, answered, body.n),
    }


async def stream(engine: Engine, body: Chat, prepared: Prepared) -> AsyncIterator[dict[str, Any]]:
    """Chunks: a role, then what is said as it comes, then why it ended."""
    head = _head("chat.completion.chunk", prepared.model)
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    rest: dict[str, Any] = {"usage": None} if with_usage else {}

    def chunk(number: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        return {**head, "choices": [choice], **rest}

    dialogues = [prepared.dialogue(engine) for _ in prepared.wanted]
    for number in range(len(dialogues)):
        yield chunk(number, {"role": "assistant", "content": ""})
    answered = 0
    async with aclosing(answers.pieces(engine, prepared.wanted, prepared.model)) as events:
        async for number, event in events:
            dialogue = dialogues[number]
            if isinstance(event, End):
                if delta := _delta(dialogue.finish(), dialogue.calls):
                    yield chunk(number, delta)
                reason = "tool_calls" if dialogue.calls else event.reason
                yield chunk(number, {}, finish_reason=reason)
                continue
            answered += len(event.choices)
            delta = _delta(dialogue.push(event.text))
            told = _logprobs(engine, body, event.choices)
            if delta or told:
                yield chunk(number, delta, logprobs=told)
    if with_usage:
        counted = answers.usage(prepared.wanted, answered, body.n)
        yield {**head, "choices": [], "usage": counted}


def _delta(said: Delta, calls: Sequence[Call] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if said.reasoning:
        found["reasoning_content"] = said.reasoning
    if said.content:
        found["content"] = said.content
    if calls:
        found["tool_calls"] = [
            {"index": index, **call.document()} for index, call in enumerate(calls)
        ]
    return found


def _logprobs(engine: Engine, body: Chat, choices: Sequence[Choice]) -> dict[str, Any] | None:
    return answers.chat_logprobs(engine.loaded.codec, choices) if body.logprobs else None


def _head(kind: str, model: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }
