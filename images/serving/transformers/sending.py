"""Answers on their way to a client who may hang up: then nobody goes on to work for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from serving.transformers.errors import ApiError

_HUNG_UP = 499
"""Nobody reads it; it is for the log."""


async def whole(request: Request, work: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    """The document that the work comes to; given up when the client is gone."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return JSONResponse(task.result())
        return Response(status_code=_HUNG_UP)
    finally:
        await _stop(watch)
        await _stop(task)


class Events:
    """Server-sent events. `named`: with the type of each in front, as /v1/responses has them, and
    no [DONE] at the end."""

    def __init__(self, documents: AsyncIterator[dict[str, Any]], *, named: bool = False) -> None:
        self._documents = documents
        self._named = named

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        headers.append((b"cache-control", b"no-cache"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        task = asyncio.ensure_future(self._send_all(send))
        watch = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                await send({"type": "http.response.body", "body": b""})
        finally:
            await _stop(watch)
            await _stop(task)

    async def _send_all(self, send: Send) -> None:
        try:
            async for document in self._documents:
                kind = f"event: {document['type']}\n" if self._named else ""
                await _part(send, f"{kind}data: {_text(document)}\n\n")
        except ApiError as error:
            # The status is sent; clients know an error by its field.
            kind = "event: error\n" if self._named else ""
            await _part(send, f"{kind}data: {_text(error.body)}\n\n")
        finally:
            await self._documents.aclose()  # type: ignore[attr-defined]
        if not self._named:
            await _part(send, "data: [DONE]\n\n")


async def _part(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Future[Any]) -> None:
    """Returns once it has ended, whatever of."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
