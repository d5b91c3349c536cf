"""Documents into an index: all at once, or with word of how far it is."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, TypeAdapter

from rag.errors import InvalidError, RagError
from rag.ingest.results import DocumentResult, NewDocument, Progress
from rag.parts import Parts, Used
from rag.routes.bodies import JsonRoute, Relay
from rag.routes.leaving import CLOSED_REQUEST, unless_gone
from rag.schemas import EXAMPLE, Document, IndexedDocument, Problem
from rag.storage import names

NDJSON = "application/x-ndjson"
router = APIRouter(tags=["documents"], route_class=JsonRoute)
_DOCUMENTS = TypeAdapter(list[IndexedDocument])
_AT_ONCE = 500
"""Documents that are written as JSON."""
_UNEXPECTED = "Something went wrong; the service's log says what."
_LOG = logging.getLogger("rag")


class IndexRequest(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"index_name": "manuals", "documents": [EXAMPLE]}]}
    )

    index_name: str
    documents: list[Document]


@router.post(
    "/index",
    summary="Index documents",
    response_model=None,
    responses={
        200: {"model": list[IndexedDocument], "content": {NDJSON: {}}},
        207: {"model": list[IndexedDocument], "description": "Some failed"},
        502: {"model": Problem, "description": "All failed: the status of the first's error"},
    },
)
async def index_documents(body: IndexRequest, request: Request, parts: Used) -> Response:
    """The first document makes the index. `doc_id` is the SHA-256 of the text: the same text again
    is `unchanged`, or `updated` where its metadata differ. With `Accept: application/x-ndjson`
    each line of the answer says what became durable."""
    names.validate(body.index_name, "body", "index_name")
    progress = _put(parts, body)
    if NDJSON in request.headers.get("accept", ""):
        # An error before anything is done has its own status.
        first = await unless_gone(request, _first(progress))
        return Relay(_lines(first, progress), progress.aclose, {"Content-Type": NDJSON})
    results = await unless_gone(request, _all(progress))
    if results is None:
        return Response(status_code=CLOSED_REQUEST)
    failed = [each.error for each in results if each.error is not None]
    if failed and len(failed) == len(results):
        raise failed[0]
    text = await asyncio.to_thread(_dumped, results)
    return Response(text, 207 if failed else 200, media_type="application/json")


async def _put(parts: Parts, body: IndexRequest) -> AsyncGenerator[Progress, None]:
    given = await asyncio.to_thread(_given, body.documents)
    async with aclosing(parts.ingester.put(body.index_name, given)) as steps:
        async for each in steps:
            yield each


async def _first(progress: AsyncGenerator[Progress, None]) -> Progress | None:
    return await anext(progress, None)


async def _all(progress: AsyncGenerator[Progress, None]) -> list[DocumentResult]:
    async with aclosing(progress):
        return [each async for step in progress for each in step.results]


async def _lines(
    first: Progress | None, rest: AsyncGenerator[Progress, None]
) -> AsyncGenerator[bytes, None]:
    """The last line has `detail` and `status` where it could not be gone on with."""
    if first is None:
        return
    yield _line(first)
    try:
        async for each in rest:
            yield _line(each)
    except RagError as error:
        _LOG.warning("indexing broke off: %s", error.detail)
        yield _json({"detail": error.detail, "status": error.status})
    except Exception:  # noqa: BLE001  # whatever it is, the stream has its last line
        _LOG.exception("indexing broke off")
        yield _json({"detail": _UNEXPECTED, "status": 500})


def _line(progress: Progress) -> bytes:
    results = [
        {"doc_id": each.doc_id, "status": each.status, "error": _words(each.error)}
        for each in progress.results
    ]
    return _json({"done": progress.done, "total": progress.total, "results": results})


def _json(line: Any) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _given(documents: Sequence[Document]) -> list[NewDocument]:
    return [NewDocument(each.text, each.metadata) for each in documents]


def _dumped(results: Sequence[DocumentResult]) -> bytes:
    """Piece by piece, since the event loop stands still during each."""
    pieces = (results[start : start + _AT_ONCE] for start in range(0, len(results), _AT_ONCE))
    texts = [_DOCUMENTS.dump_json([indexed(each) for each in piece])[1:-1] for piece in pieces]
    return b"[" + b",".join(texts) + b"]"


def indexed(result: DocumentResult) -> IndexedDocument:
    return IndexedDocument.model_construct(
        doc_id=result.doc_id,
        text=result.document.text,
        metadata=dict(result.document.metadata),
        hash_value=None,
        is_truncated=False,
        status=result.status,
        error=_words(result.error),
    )


def _words(error: RagError | None) -> str | None:
    """With the field, where one is at fault."""
    if isinstance(error, InvalidError) and error.field:
        return f"{'.'.join(str(each) for each in error.field)}: {error.detail}"
    return None if error is None else error.detail
