"""Chat completions; what becomes of them is `rag.chat`'s."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from rag.chat.replies import Stream
from rag.errors import InvalidError
from rag.parts import Used
from rag.routes.bodies import JsonRoute, Relay
from rag.routes.leaving import CLOSED_REQUEST, unless_gone
from rag.schemas import Problem

router = APIRouter(tags=["chat"], route_class=JsonRoute)
_EXAMPLE = {
    "index_name": "manuals",
    "messages": [{"role": "user", "content": "What does RAG do?"}],
    "temperature": 0.7,
}


@router.post(
    "/v1/chat/completions",
    summary="Ask the model, with or without an index",
    response_model=None,
    responses={status: {"model": Problem} for status in (400, 404, 502, 503, 504)},
)
async def chat_completions(
    request: Request, body: Annotated[dict[str, Any], Body(examples=[_EXAMPLE])], parts: Used
) -> Response:
    """OpenAI's, and `index_name` beside it: then passages of the index go with the question, and
    the answer names them in `source_nodes`. Without it, all is passed on as it is."""
    reply = await unless_gone(request, parts.chat.complete(_whole(body)))
    if reply is None:
        return Response(status_code=CLOSED_REQUEST)
    if isinstance(reply, Stream):
        return Relay(reply.events, reply.close, reply.headers)
    text = await asyncio.to_thread(_dumped, reply.body)
    return Response(text, reply.status, dict(reply.headers), "application/json")


def _whole(body: dict[str, Any]) -> dict[str, Any]:
    """Infinity cannot be passed on: no JSON says it."""
    try:
        json.dumps(body, allow_nan=False)
    except ValueError:
        raise InvalidError("Out of range float values are not JSON compliant", "body") from None
    return body


def _dumped(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
