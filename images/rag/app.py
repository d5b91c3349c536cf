"""The app: routes, and around them what every request passes through."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from serving.front.keys import Keys

from rag import answers
from rag.auth import Authorized
from rag.envelope import HEADER, Envelope
from rag.limits import Limited
from rag.observing import Observed
from rag.parts import Parts
from rag.routes import chat, documents, indexes, indexing, operations, pages, retrieval

__all__ = ["Parts", "create_app"]

_ABOUT = (
    "Documents in, passages and grounded answers out. A chat without index_name goes to the"
    " inference service as it is."
)


def create_app(parts: Parts) -> FastAPI:
    """Needs no network for its documentation, and nothing outside of `parts`."""
    app = FastAPI(
        title="KAITO RAG Engine",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.parts = parts
    for each in (indexing, indexes, documents, retrieval, chat, operations):
        app.include_router(each.router)
    pages.install(app)
    answers.install(app)
    _surround(app, parts)
    return app


def _surround(app: FastAPI, parts: Parts) -> None:
    """From within: limits, keys, CORS (so that refusals can be read), metrics, the last resort."""
    server = parts.settings.server
    app.add_middleware(Limited, settings=parts.settings.limits)
    app.add_middleware(Authorized, keys=Keys(Path(server.api_keys_directory)))
    if server.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=server.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Api-Key", HEADER.decode()],
            expose_headers=["Server-Timing", "Retry-After", HEADER.decode()],
        )
    app.add_middleware(Observed, requests=parts.metrics.requests)
    app.add_middleware(Envelope)
