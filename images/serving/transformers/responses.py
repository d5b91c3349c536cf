"""POST /v1/responses: a chat in the words of OpenAI's newer route. Nothing is stored."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from serving.transformers import answers, asking
from serving.transformers.bodies import FunctionTool, Response
from serving.transformers.chat import Prepared
from serving.transformers.dialogue import Dialogue
from serving.transformers.engine import Engine
from serving.transformers.errors import ApiError
from serving.transformers.items import Items
from serving.transformers.sampling import End


async def prepare(engine: Engine, body: Response) -> Prepared:
    """ApiError where it cannot be answered."""
    asking.check_format((body.text or {}).get("format"), "text.format")
    asking.check_tool_choice(body.tool_choice)
    tools = [] if body.tool_choice == "none" else body.tools
    rules = asking.sampling(engine, body)
    text, tokens = await asking.chat(engine, _messages(body), [_tool(each) for each in tools], {})
    return Prepared(
        asking.wanted(engine, [tokens], rules, body, body.max_output_tokens),
        body.model or engine.models()[0].name,
        engine.loaded.codec.thinks and text.rstrip().endswith("<think>"),
        tuple(each.name for each in tools),
    )


async def complete(engine: Engine, body: Response, prepared: Prepared) -> dict[str, Any]:
    (found,) = await answers.whole(engine, prepared.wanted, prepared.model)
    dialogue = prepared.dialogue(engine)
    first, last = dialogue.push(found.text), dialogue.finish()
    items = Items()
    items.think(first.reasoning + last.reasoning)
    items.say(first.content + last.content)
    items.call(dialogue.calls)
    document = _document(body, prepared)
    return _ended(document, items, prepared, len(found.choices), found.reason)


async def stream(
    engine: Engine, body: Response, prepared: Prepared
) -> AsyncIterator[dict[str, Any]]:
    """Events, numbered. What is said comes in deltas; calls come whole."""
    document = _document(body, prepared)
    dialogue, items = prepared.dialogue(engine), Items()
    numbers = iter(range(1 << 30))

    def event(kind: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "sequence_number": next(numbers), **more}

    yield event("response.created", response=document)
    yield event("response.in_progress", response=document)
    answered, reason = 0, ""
    async with aclosing(answers.pieces(engine, prepared.wanted, prepared.model)) as events:
        async for _, each in events:
            if isinstance(each, End):
                reason = each.reason
                said = _finished(dialogue, items)
            else:
                answered += len(each.choices)
                said = _told(dialogue, items, each.text)
            for kind, more in said:
                yield event(kind, **more)
    ended = _ended(document, items, prepared, answered, reason)
    yield event(f"response.{ended['status']}", response=ended)


def _told(dialogue: Dialogue, items: Items, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    delta = dialogue.push(text)
    yield from items.think(delta.reasoning)
    yield from items.say(delta.content)


def _finished(dialogue: Dialogue, items: Items) -> Iterator[tuple[str, dict[str, Any]]]:
    delta = dialogue.finish()
    yield from items.think(delta.reasoning)
    yield from items.say(delta.content)
    yield from items.close()
    yield from items.call(dialogue.calls)


def _document(body: Response, prepared: Prepared) -> dict[str, Any]:
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": prepared.model,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": prepared.wanted[0].sampling.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": [tool.model_dump() for tool in body.tools],
        "top_p": prepared.wanted[0].sampling.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _ended(
    document: Mapping[str, Any], items: Items, prepared: Prepared, answered: int, reason: str
) -> dict[str, Any]:
    asked = len(prepared.wanted[0].prompt)
    short = reason == "length"
    return {
        **document,
        "status": "incomplete" if short else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if short else None,
        "output": items.documents(),
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answered,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + answered,
        },
    }


def _messages(body: Response) -> list[dict[str, Any]]:
    found = [{"role": "system", "content": body.instructions}] if body.instructions else []
    if isinstance(body.input, str):
        return [*found, {"role": "user", "content": body.input}]
    for number, item in enumerate(body.input):
        found += _message(item, f"input[{number}]")
    return found


def _message(item: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    kind = item.get("type", "message")
    if kind == "message":
        role = {"developer": "system"}.get(str(item.get("role")), str(item.get("role")))
        if role not in ("system", "user", "assistant"):
            raise ApiError(f"{path}.role: {role!r} is no role", param=f"{path}.role")
        return [{"role": role, "content": asking.text_of(item.get("content"), f"{path}.content")}]
    if kind == "function_call":
        function = {"name": str(item.get("name", "")), "arguments": _arguments(item, path)}
        calls = [{"type": "function", "id": str(item.get("call_id", "")), "function": function}]
        return [{"role": "assistant", "content": "", "tool_calls": calls}]
    if kind == "function_call_output":
        text = asking.text_of(item.get("output"), f"{path}.output")
        return [{"role": "tool", "content": text, "tool_call_id": str(item.get("call_id", ""))}]
    if kind == "reasoning":
        return []
    raise ApiError(f"{path}.type: {kind!r} is not taken here", param=f"{path}.type")


def _arguments(item: Mapping[str, Any], path: str) -> Any:
    try:
        return json.loads(item.get("arguments") or "{}")
    except (TypeError, ValueError) as error:
        field = f"{path}.arguments"
        raise ApiError(f"{field}: must be a text of JSON", param=field) from error


def _tool(tool: FunctionTool) -> dict[str, Any]:
    """As chat templates know it."""
    return {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}
