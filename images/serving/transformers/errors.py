"""Refusals in OpenAI's form."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError


class ApiError(Exception):
    """What a request is answered instead; `param` is the field that it is about."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": _kind(status), "param": param, "code": code}
        }


def _kind(status: int) -> str:
    return "invalid_request_error" if status < 500 else "server_error"


def invalid(error: ValidationError) -> ApiError:
    """The first thing that is wrong with a body."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = [part for part in first["loc"] if not _of_a_union(part)]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    field = field.removeprefix(".") or "body"
    if first["type"] == "extra_forbidden":
        return ApiError(f"unknown field {field}: leave it out", param=field, code="unknown_field")
    return ApiError(f"{field}: {first['msg']}", param=field)


def _of_a_union(part: int | str) -> bool:
    """Pydantic names the alternative that it tried beside the field."""
    return isinstance(part, str) and (part in ("str", "int") or "[" in part)


def unknown_model(name: str) -> ApiError:
    return ApiError(
        f"The model `{name}` does not exist.", status=404, param="model", code="model_not_found"
    )


def too_long(prompt: int, answer: int, context: int) -> ApiError:
    """`answer` is what was asked for, at least one token."""
    return ApiError(
        f"This model's maximum context length is {context} tokens. However, you requested"
        f" {prompt + answer} tokens ({prompt} in the prompt, {answer} for the answer): shorten"
        " the prompt or lower max_tokens.",
        param="messages",
        code="context_length_exceeded",
    )
