"""Bodies in: JSON with a bound on its depth. Bodies out: streams that are closed in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from rag.schemas import Document

_SMALL = 64 << 10
"""Bytes that are parsed sooner than a thread is found."""
_AT_ONCE = 100
"""Documents, which take a millisecond or two."""
_DOCUMENTS = TypeAdapter(list[Document])
_WHERE = re.compile(r" at line \d+ column (\d+)$")


class JsonRequest(Request):
    """Parsed by pydantic's own parser: three times as fast as json's, it refuses what nests deeper
    than 200 and what is no text in UTF-8 (half a surrogate pair), which would fail later."""

    async def json(self) -> Any:
        body = await self.body()
        if len(body) <= _SMALL:
            return parse(body)
        return await asyncio.to_thread(lambda: _ahead(parse(body)))


class JsonRoute(APIRoute):
    """For the routers that take bodies."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def parsed(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return parsed


class Relay(StreamingResponse):
    """A stream whose source learns that it is over, also where the client went away."""

    def __init__(
        self,
        source: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(source, headers=dict(headers))
        self._close = close

    async def __call__(self, *asgi: Any) -> None:
        try:
            await super().__call__(*asgi)
        finally:
            await self._close()


def _ahead(found: Any) -> Any:
    """With documents made of what fits. FastAPI would do it on the event loop, all at once: ten
    thousand hold it for a fifth of a second. Here others have their turn in between, and what does
    not fit is left for FastAPI to tell."""
    given = found.get("documents") if isinstance(found, dict) else None
    if isinstance(given, list):
        for start in range(0, len(given), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            with contextlib.suppress(ValidationError):
                given[part] = _DOCUMENTS.validate_python(given[part])
    return found


def parse(text: bytes | str) -> Any:
    """Raises JSONDecodeError, which FastAPI answers with 422 and the place."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        told = str(error)
        found = _WHERE.search(told)
        at = int(found[1]) if found else 0
        raise json.JSONDecodeError(_WHERE.sub("", told), "", at) from None
