"""The fields of a request that this service reads. All others are the LLM's: what it makes of a
temperature of "hot" is for it to say.

Upstream answers 500 where one of them has another type; here it is 422, with the field's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard, get_args

from rag.documents import Metadata, Mode
from rag.errors import BadRequestError, InvalidError

OURS: Final = frozenset(
    {
        "context_token_ratio",
        "index_name",
        "max_node_count",
        "metadata_filter",
        "mode",
        "rerank",
    }
)
"""These never reach the LLM."""

_MODES: Final = get_args(Mode)
_LIMITS: Final = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; nothing in it is shared with another."""

    forwarded: Mapping[str, Any]
    """The body as the LLM may see it."""
    messages: Any
    """As they came; `rag.chat.messages` looks at them."""
    index: str | None
    stream: bool
    model: str | None
    answer_tokens: int | None
    """The limit of the answer that the request sets."""
    ratio: float | None
    max_node_count: int | None
    metadata_filter: Metadata | None
    mode: Mode
    rerank: bool


def read(body: Mapping[str, Any], *, max_top_k: int) -> Asked:
    """InvalidError names the field; BadRequestError is for what upstream refuses in its words."""
    _check_choices(body)
    limits = [_limit(body, name) for name in _LIMITS]
    return Asked(
        forwarded={name: each for name, each in body.items() if name not in OURS},
        messages=body.get("messages"),
        index=_field(body, "index_name", "a string", _is_string) or None,
        stream=bool(_field(body, "stream", "true or false", _is_bool)),
        model=_field(body, "model", "a string", _is_string) or None,
        answer_tokens=next((each for each in limits if each), None),
        ratio=_field(body, "context_token_ratio", "a number", _is_number),
        max_node_count=_count(body, "max_node_count", max_top_k),
        metadata_filter=_field(body, "metadata_filter", "an object", _is_object),
        mode=_field(body, "mode", f"one of {', '.join(_MODES)}", _is_mode) or "hybrid",
        rerank=bool(_field(body, "rerank", "true or false", _is_bool)),
    )


def lowered(forwarded: Mapping[str, Any], most: int | None) -> dict[str, int]:
    """The limits of an answer that passages leave less room than they say. Servers refuse a prompt
    and a limit that are more than the window together, and the caller knows of no passages."""
    given = {name: _limit(forwarded, name) for name in _LIMITS}
    return {name: most for name, each in given.items() if most and each and each > most}


def _check_choices(body: Mapping[str, Any]) -> None:
    choices = _field(body, "n", "an integer", _is_integer)
    if choices is not None and choices > 1:
        raise BadRequestError("n > 1 is not supported.")
    if choices is not None and choices < 1:
        raise InvalidError("must be 1", "body", "n")


def _field(body: Mapping[str, Any], name: str, kind: str, fits: Callable[[Any], bool]) -> Any:
    """None where it is null or not there at all, which OpenAI's clients mean the same by."""
    given = body.get(name)
    if given is not None and not fits(given):
        raise InvalidError(f"must be {kind}", "body", name)
    return given


def _count(body: Mapping[str, Any], name: str, most: int) -> int | None:
    def fits(given: Any) -> bool:
        return _is_integer(given) and 1 <= given <= most

    found: int | None = _field(body, name, f"an integer from 1 to {most}", fits)
    return found


def _limit(body: Mapping[str, Any], name: str) -> int | None:
    """None also for -1, by which llama.cpp's clients mean no limit."""
    given = _field(body, name, "an integer", _is_whole)
    return int(given) if given is not None and given > 0 else None


def _is_string(given: Any) -> TypeGuard[str]:
    return isinstance(given, str)


def _is_bool(given: Any) -> TypeGuard[bool]:
    return isinstance(given, bool)


def _is_integer(given: Any) -> TypeGuard[int]:
    return isinstance(given, int) and not isinstance(given, bool)


def _is_whole(given: Any) -> TypeGuard[float]:
    return _is_integer(given) or (isinstance(given, float) and given.is_integer())


def _is_number(given: Any) -> TypeGuard[float]:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _is_object(given: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(given, Mapping)


def _is_mode(given: Any) -> TypeGuard[Mode]:
    return isinstance(given, str) and given in _MODES


def is_parts(given: Any) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    """The content of a message in parts, as multi-modal models take it."""
    return isinstance(given, list) and all(isinstance(each, Mapping) for each in given)
