"""May this be answered, and does it want context? Upstream's checks in upstream's order.

A check raises where the request is refused, names why it is handed on without context, or has
nothing to say. Upstream's numbers 2 (no tools) and 9 (no stream with an index) are not here: both
work. Those that have to look elsewhere (LLM, guardrails, index, length) are in `rag.chat.service`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from rag.chat.fields import Asked, is_parts
from rag.chat.settings import HIGHEST_RATIO, LOWEST_RATIO
from rag.errors import BadRequestError, InvalidError

GROUNDED_ROLES: Final = frozenset({"user", "system", "assistant", "developer"})
_INVALID: Final = "Invalid request format: "


class PassThrough(Enum):
    """Why a request goes to the LLM as it is."""

    NO_INDEX = "no index_name"
    ROLE = "a message of another role, as a tool's"
    CONTENT = "a user's content that is not text alone"


Check = Callable[[Asked], PassThrough | None]


def decide(asked: Asked) -> PassThrough | None:
    """Raises BadRequestError, InvalidError. None: the question is looked up."""
    for check in CHECKS:
        if (reason := check(asked)) is not None:
            return reason
    return None


def _ratio(asked: Asked) -> None:
    ratio = asked.ratio
    if ratio is not None and not LOWEST_RATIO <= ratio <= HIGHEST_RATIO:
        raise BadRequestError(
            f"Invalid context_token_ratio: {ratio}. Must be between {LOWEST_RATIO} and"
            f" {HIGHEST_RATIO}."
        )


def _form(asked: Asked) -> None:
    if not isinstance(asked.messages, list) or not asked.messages:
        raise BadRequestError(f"{_INVALID}messages must be a list with at least one message.")
    for place, each in enumerate(asked.messages):
        if not isinstance(each, dict):
            raise InvalidError("must be an object", "body", "messages", place)


def _has_index(asked: Asked) -> PassThrough | None:
    return None if asked.index else PassThrough.NO_INDEX


def _roles_and_content(asked: Asked) -> None:
    for place, each in enumerate(asked.messages):
        role, content = each.get("role"), each.get("content")
        if role is None or role == "":
            raise BadRequestError(f"{_INVALID}messages must contain 'role'.")
        if not isinstance(role, str):
            raise InvalidError("must be a string", "body", "messages", place, "role")
        if content is None and role != "assistant":
            raise BadRequestError(f"{_INVALID}messages must contain 'content' for role '{role}'.")
        if content is not None and not isinstance(content, str) and not is_parts(content):
            raise InvalidError(
                "must be a string or a list of parts", "body", "messages", place, "content"
            )
        if role == "user" and _is_empty(content):
            raise BadRequestError(f"{_INVALID}user messages must contain 'content'.")


def _known_roles(asked: Asked) -> PassThrough | None:
    known = all(each["role"] in GROUNDED_ROLES for each in asked.messages)
    return None if known else PassThrough.ROLE


def _text_alone(asked: Asked) -> PassThrough | None:
    contents = [each["content"] for each in asked.messages if each["role"] == "user"]
    return None if all(_is_text(each) for each in contents) else PassThrough.CONTENT


def _has_question(asked: Asked) -> None:
    for each in reversed(asked.messages):
        if each["role"] == "user":
            return
        if each["role"] == "assistant":
            break
    raise BadRequestError("There must be a user prompt since the latest assistant message.")


def _is_empty(content: Any) -> bool:
    """Also of parts: those that are text alone, and all of it blank."""
    if content is None or isinstance(content, str):
        return not (content or "").strip()
    return _is_text(content) and not any(part["text"].strip() for part in content)


def _is_text(content: Any) -> bool:
    if isinstance(content, str):
        return True
    return all(part.get("type") == "text" and isinstance(part.get("text"), str) for part in content)


CHECKS: Final[tuple[Check, ...]] = (
    _ratio,
    _form,
    _has_index,
    _roles_and_content,
    _known_roles,
    _text_alone,
    _has_question,
)
