"""The question, and what was said before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag.errors import InvalidError

Message = Mapping[str, Any]

_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Conversation:
    history: tuple[Message, ...]
    """All but the question, in order and untouched."""
    question: str
    """What the user has said since the last assistant's message, joined with blank lines."""
    asking: Message
    """The last of those messages; other fields than its content are kept."""


def split(messages: Sequence[Message]) -> Conversation:
    """Of messages that `rag.chat.messages` has let pass. InvalidError where the question cannot
    be written as UTF-8, which JSON can spell and no tokenizer can read."""
    since = 1 + max(
        (place for place, each in enumerate(messages) if each["role"] == "assistant"), default=-1
    )
    asking = [each for each in messages[since:] if each["role"] == "user"]
    history = [each for each in messages[since:] if each["role"] != "user"]
    question = _BETWEEN.join(text_of(each) for each in asking)
    try:
        question.encode()
    except UnicodeEncodeError:
        raise InvalidError("holds half of a surrogate pair", "body", "messages") from None
    return Conversation((*messages[:since], *history), question, asking[-1])


def text_of(message: Message) -> str:
    """The text of a content, whether in one or in parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return _BETWEEN.join(str(part["text"]) for part in parts if "text" in part)
