"""Conversations: OpenAI's messages, and ShareGPT's, each checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_SHARE_GPT = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "assistant": "assistant",
    "system": "system", "tool": "tool", "observation": "tool", "function": "tool",
}  # fmt: skip


class BadRowError(Exception):
    """What a row lacks; the place is for the caller to say."""


def conversation(given: Any, column: str) -> list[dict[str, Any]]:
    """In OpenAI's form. BadRowError where it is none; an empty list where there is nothing in it.
    Texts that hold JSON are read, since CSV has no lists."""
    found = _parsed(given, column)
    if not isinstance(found, list):
        raise BadRowError(f"{column} must be a list of messages with role and content")
    return [_message(each, f"{column}[{at}]") for at, each in enumerate(found)]


def teaches(messages: list[dict[str, Any]]) -> bool:
    """Whether there is an answer of the assistant to learn."""
    return any(
        each["role"] == "assistant" and (each.get("content") or each.get("tool_calls"))
        for each in messages
    )


def _parsed(given: Any, column: str) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError:
        raise BadRowError(f"{column} is a text that is no JSON list of messages") from None


def _message(given: Any, path: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise BadRowError(f"{path} must be a map with role and content")
    # Columns of Parquet give each message every key, with nulls.
    said = {key: value for key, value in given.items() if value is not None}
    if "from" in said or "value" in said:
        role = _SHARE_GPT.get(str(said.pop("from", "")).lower(), "")
        said = {"role": role, "content": said.pop("value", None)}
        if not role:
            raise BadRowError(f"{path}.from must be one of {', '.join(sorted(_SHARE_GPT))}")
    if said.get("role") not in ROLES:
        raise BadRowError(f'{path}.role "{said.get("role", "")}" must be one of {", ".join(ROLES)}')
    content = _text(said.get("content"), f"{path}.content")
    if content is None and not said.get("tool_calls"):
        raise BadRowError(f"{path}.content is missing")
    return {**said, "content": content or ""}


def _text(content: Any, path: str) -> str | None:
    """Parts of text become one; None where there is nothing."""
    if content is None or isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [
        part.get("text")
        if isinstance(part, Mapping) and part.get("type", "text") == "text"
        else None
        for part in parts
    ]
    if not all(isinstance(each, str) for each in texts):
        raise BadRowError(f"{path} must be a text: pictures and sounds are not trained with")
    return "".join(each for each in texts if each is not None)
