"""Errors as answers: FastAPI's form, the same whether pydantic found the fault or we did.

`{"detail": "a sentence"}`, and of what does not fit `{"detail": [{"loc", "msg", "type"}]}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from serving.front.asgi import Receive, Scope, Send

from rag.errors import InvalidError, RagError

_MOST_FAULTS = 100
"""Of those that are told: ten thousand documents may have the same one."""
_DRAIN_SECONDS = 5.0
_DRAIN_BYTES = 64 << 20


def of(error: RagError, more: Mapping[str, str] | None = None) -> JSONResponse:
    detail: Any = error.detail
    if isinstance(error, InvalidError) and error.field:
        detail = [{"loc": _where(error), "msg": error.detail, "type": "value_error"}]
    return JSONResponse({"detail": detail}, error.status, {**headers(error), **(more or {})})


def headers(error: RagError) -> dict[str, str]:
    if error.retry_after is None:
        return {}
    return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}


def install(app: FastAPI) -> None:
    app.add_exception_handler(RagError, _rag)
    app.add_exception_handler(RequestValidationError, _invalid)


def _where(error: InvalidError) -> list[str | int]:
    """Who finds a fault deep within knows the field, and not always that it was in a body."""
    known = error.field[0] in ("body", "path", "query")
    return list(error.field if known else ("body", *error.field))


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    error: RagError,
    more: Mapping[str, str] | None = None,
) -> None:
    """Answer in place of the app. What the client still sends is read and dropped, within reason:
    a connection that is closed over unread bytes is reset, and the answer lost with it."""
    await drain(receive)
    await of(error, more)(scope, receive, send)


async def drain(receive: Receive) -> None:
    """Until the body's end, or as much of it as is bearable."""
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while seen < _DRAIN_BYTES:
                message = await receive()
                seen += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return


async def _rag(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RagError):
        raise error
    return of(error)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Without what was given: it may be long, or secret, or no JSON."""
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [_fault(each) for each in error.errors()[:_MOST_FAULTS]]
    return JSONResponse({"detail": faults}, 422)


def _fault(found: Mapping[str, Any]) -> dict[str, Any]:
    told = {"loc": list(found["loc"]), "msg": found["msg"], "type": found["type"]}
    known = {
        name: each
        for name, each in (found.get("ctx") or {}).items()
        if isinstance(each, str | int | float)
    }
    return {**told, "ctx": known} if known else told
