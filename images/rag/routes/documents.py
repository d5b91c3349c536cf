"""Documents of an index: to look at, to change, to take away."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rag.documents import Page
from rag.errors import BadRequestError
from rag.ingest.results import DocumentResult, NewDocument
from rag.parts import Used
from rag.routes.bodies import JsonRoute, parse
from rag.routes.indexing import indexed
from rag.routes.leaving import CLOSED_REQUEST, unless_gone
from rag.schemas import EXAMPLE, EXAMPLE_ID, Document, IndexedDocument, Problem, shown

router = APIRouter(
    prefix="/indexes/{index_name}/documents",
    tags=["documents"],
    route_class=JsonRoute,
    responses={404: {"model": Problem}},
)
Name = Annotated[str, Path(examples=["manuals"])]
_FURTHEST = 2**53
"""What every JSON reader counts without loss."""


class Listed(BaseModel):
    documents: list[Document]
    count: int = Field(description="Of this page.")
    total_items: int = Field(description="Of all that match.")


class UpdateRequest(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"documents": [{"doc_id": EXAMPLE_ID, **EXAMPLE}]}]}
    )

    documents: list[Document]


class UpdateResponse(BaseModel):
    updated_documents: list[Document]
    unchanged_documents: list[Document]
    not_found_documents: list[Document]
    failed_documents: list[IndexedDocument] = Field([], description="Beyond upstream's.")


class DeleteRequest(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"doc_ids": [EXAMPLE_ID]}]})

    doc_ids: list[str]


class DeleteResponse(BaseModel):
    deleted_doc_ids: list[str]
    not_found_doc_ids: list[str]


@router.get("", summary="List documents")
async def list_documents_in_index(
    index_name: Name,
    parts: Used,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    offset: Annotated[int, Query(ge=0, le=_FURTHEST)] = 0,
    max_text_length: Annotated[int | None, Query(ge=1, le=_FURTHEST)] = 1000,
    metadata_filter: Annotated[
        str | None, Query(description="A JSON object", examples=['{"author": "Ada"}'])
    ] = None,
) -> Listed:
    """In the order in which they were first put, a document an item."""
    wanted = _filter(metadata_filter)

    def look() -> Page:
        index = parts.store.get(index_name)
        return index.page(limit=limit, offset=offset, metadata_filter=wanted)

    page = await asyncio.to_thread(look)
    documents = [shown(each, max_text_length) for each in page.documents]
    return Listed(documents=documents, count=len(documents), total_items=page.total)


@router.post("", summary="Update documents", response_model=UpdateResponse)
async def update_documents_in_index(
    index_name: Name, body: UpdateRequest, parts: Used, request: Request, response: Response
) -> UpdateResponse | Response:
    """By `doc_id`, which stays. Only what changed is embedded anew."""
    given = [NewDocument(each.text, each.metadata, each.doc_id) for each in body.documents]
    result = await unless_gone(request, parts.ingester.update(index_name, given))
    if result is None:
        return Response(status_code=CLOSED_REQUEST)
    failed = result.of("failed")
    if failed and len(failed) == len(result.results) and failed[0].error is not None:
        raise failed[0].error
    response.status_code = 207 if failed else 200
    return UpdateResponse(
        updated_documents=[_changed(each) for each in result.of("updated")],
        unchanged_documents=[_changed(each) for each in result.of("unchanged")],
        not_found_documents=[_changed(each) for each in result.of("not_found")],
        failed_documents=[indexed(each) for each in failed],
    )


@router.post("/delete", summary="Delete documents")
async def delete_documents_in_index(
    index_name: Name, body: DeleteRequest, parts: Used
) -> DeleteResponse:
    result = await parts.ingester.delete(index_name, body.doc_ids)
    return DeleteResponse(
        deleted_doc_ids=list(result.deleted), not_found_doc_ids=list(result.not_found)
    )


def _changed(result: DocumentResult) -> Document:
    return shown(result.document)


def _filter(given: str | None) -> dict[str, Any] | None:
    if given is None:
        return None
    text = "Invalid metadata filter format. Must be a valid JSON string."
    try:
        found = parse(given)
        json.dumps(found, allow_nan=False)
    except ValueError:
        raise BadRequestError(text) from None
    if not isinstance(found, dict):
        raise BadRequestError(text)
    return found
