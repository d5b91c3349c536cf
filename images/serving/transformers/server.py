"""The HTTP server: routes, and what stands before them."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from apis import container
from serving.transformers import (
    asking,
    bodies,
    chat,
    completions,
    errors,
    metrics,
    responses,
    sending,
)
from serving.transformers.engine import Engine, UnknownModelError
from serving.transformers.errors import ApiError

B = TypeVar("B", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Any]]

_STARTED = int(time.time())
_MAX_BODY = 32 << 20


def application(engine: Engine, *, runtime_adapters: bool) -> Starlette:
    """The routes of one engine. `runtime_adapters`: those of vLLM too that add and remove one,
    which nobody must reach but the agent."""
    routes = Routes(engine)
    table = [
        ("GET", container.HEALTH_PATH, routes.health),
        ("GET", container.METRICS_PATH, routes.metrics),
        ("GET", "/v1/models", routes.models),
        ("GET", "/v1/models/{name:path}", routes.model),
        ("POST", "/v1/chat/completions", routes.chat),
        ("POST", "/v1/completions", routes.completions),
        ("POST", "/v1/responses", routes.responses),
        ("POST", "/tokenize", routes.tokenize),
        ("POST", "/detokenize", routes.detokenize),
    ]
    if runtime_adapters:
        table += [
            ("POST", "/v1/load_lora_adapter", routes.load_adapter),
            ("POST", "/v1/unload_lora_adapter", routes.unload_adapter),
        ]
    return Starlette(
        routes=[Route(path, handler, methods=[method]) for method, path, handler in table],
        exception_handlers={
            ApiError: _refused,
            ValidationError: _invalid,
            HTTPException: _unserved,
        },
    )


class Routes:
    """One method a route."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def health(self, _: Request) -> Response:
        return Response(status_code=200 if self._engine.ready else 503)

    async def metrics(self, _: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self, _: Request) -> Response:
        asking.check_model(self._engine, "")
        data = [self._document(each.name) for each in self._engine.models()]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        asking.check_model(self._engine, name)
        return JSONResponse(self._document(name))

    async def chat(self, request: Request) -> Any:
        body = await self._body(request, bodies.Chat)
        prepared = await chat.prepare(self._engine, body)
        if body.stream:
            return sending.Events(chat.stream(self._engine, body, prepared))
        return await sending.whole(request, chat.complete(self._engine, body, prepared))

    async def completions(self, request: Request) -> Any:
        body = await self._body(request, bodies.Completion)
        wanted = await completions.prepare(self._engine, body)
        if body.stream:
            return sending.Events(completions.stream(self._engine, body, wanted))
        return await sending.whole(request, completions.complete(self._engine, body, wanted))

    async def responses(self, request: Request) -> Any:
        body = await self._body(request, bodies.Response)
        prepared = await responses.prepare(self._engine, body)
        if body.stream:
            events = responses.stream(self._engine, body, prepared)
            return sending.Events(events, named=True)
        return await sending.whole(request, responses.complete(self._engine, body, prepared))

    async def tokenize(self, request: Request) -> Response:
        body = await self._body(request, bodies.Tokenize)
        if (body.prompt is None) == (body.messages is None):
            raise ApiError("prompt: give either prompt or messages", param="prompt")
        if body.messages is not None:
            turns = asking.turns(body.messages)
            tokens = (await asking.chat(self._engine, turns, [], {}))[1]
        else:
            special = body.add_special_tokens
            tokens = await asking.encode(self._engine, body.prompt or "", special=special)
        context = self._engine.loaded.context
        found = {"count": len(tokens), "max_model_len": context, "tokens": tokens}
        return JSONResponse(found)

    async def detokenize(self, request: Request) -> Response:
        body = await self._body(request, bodies.Detokenize)
        tokens = asking.checked(self._engine, body.tokens)
        return JSONResponse({"prompt": self._engine.loaded.codec.decode(tokens)})

    async def load_adapter(self, request: Request) -> Response:
        from serving.transformers.adapters import AdapterError

        asking.check_model(self._engine, "")
        given = await request.json()
        name, folder = str(given["lora_name"]), Path(str(given["lora_path"]))
        if any(name == each.name for each in self._engine.models()):
            raise ApiError(f"the name {name} is taken", param="lora_name")
        try:
            await self._engine.add(name, folder)
        except AdapterError as error:
            raise ApiError(f"the adapter {name} cannot be loaded: {error}") from error
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload_adapter(self, request: Request) -> Response:
        name = str((await request.json())["lora_name"])
        try:
            await self._engine.remove(name)
        except UnknownModelError:
            raise errors.unknown_model(name) from None
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _body(self, request: Request, kind: type[B]) -> B:
        """ValidationError for what it does not know; ApiError for a model that is not served."""
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > _MAX_BODY:
                raise ApiError(f"the body has more than {_MAX_BODY} bytes", status=413)
        body = kind.model_validate_json(bytes(content))
        asking.check_model(self._engine, getattr(body, "model", ""))
        return body

    def _document(self, name: str) -> dict[str, Any]:
        (found,) = [each for each in self._engine.models() if each.name == name]
        return {
            "id": found.name,
            "object": "model",
            "created": _STARTED,
            "owned_by": "kaito",
            "root": found.root,
            "parent": found.parent,
            "max_model_len": self._engine.loaded.context,
        }


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  # registered for it
    headers = {"retry-after": "5"} if error.status == 503 else None
    return JSONResponse(error.body, error.status, headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)  # noqa: S101  # registered for it
    return await _refused(request, errors.invalid(error))


async def _unserved(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for it
    words = f"{request.method} {request.url.path}: {error.detail}"
    return await _refused(request, ApiError(words, status=error.status_code))


def environment(limit: int | None) -> dict[str, str]:
    """For the front: what is worked on at once, unless the pod says otherwise."""
    return {"KAITO_RATE_LIMIT": "off" if limit is None else str(limit), **os.environ}
