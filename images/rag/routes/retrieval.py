"""What an index holds on a question."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from rag.documents import Hit, Mode, Source
from rag.errors import BadRequestError
from rag.parts import Used
from rag.routes.bodies import JsonRoute
from rag.schemas import Filter, Problem

router = APIRouter(tags=["retrieval"], route_class=JsonRoute)


class RetrieveRequest(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"index_name": "manuals", "query": "What does RAG do?"}]}
    )

    index_name: str
    query: str
    max_node_count: int = Field(5, ge=1, description="At most RAG_MAX_TOP_K.")
    metadata_filter: Filter | None = Field(
        None, description="All of these must be equal, as JSON values of the same type."
    )
    mode: Mode = "hybrid"
    rerank: bool = Field(False, description="Needs a reranker.")


class Node(BaseModel):
    """A chunk that was found. Higher is better in every score."""

    doc_id: str
    node_id: str
    text: str
    score: float
    dense_score: float | None = Field(None, description="The cosine of chunk and query.")
    sparse_score: float | None = Field(None, description="BM25.")
    source: Source | None = None
    metadata: dict[str, Any] | None = None
    position: int = Field(description="The how many-th chunk of its document, from 0.")
    start: int = Field(description="Its first character in the document; -1 where unknown.")
    end: int


class RetrieveResponse(BaseModel):
    query: str
    results: list[Node]
    count: int


@router.post("/retrieve", summary="Find passages", responses={404: {"model": Problem}})
async def retrieve(body: RetrieveRequest, parts: Used, response: Response) -> RetrieveResponse:
    """Best first. `Server-Timing` says what it took."""
    if not body.query.strip():
        raise BadRequestError("Query string cannot be empty.")
    if body.max_node_count > (most := parts.settings.limits.top_k):
        raise _too_many(most)
    found = await parts.retriever.retrieve(
        body.index_name,
        body.query,
        top_k=body.max_node_count,
        mode=body.mode,
        metadata_filter=body.metadata_filter or None,
        rerank=body.rerank,
    )
    response.headers["Server-Timing"] = ", ".join(
        f"{name};dur={seconds * 1000:.1f}" for name, seconds in found.timings.items()
    )
    nodes = [_node(each) for each in found.hits]
    return RetrieveResponse(query=body.query, results=nodes, count=len(nodes))


def _too_many(most: int) -> RequestValidationError:
    """As pydantic says it, for a bound that is set where the service is started."""
    text = f"Input should be less than or equal to {most}"
    where = ("body", "max_node_count")
    return RequestValidationError(
        [{"type": "less_than_equal", "loc": where, "msg": text, "ctx": {"le": most}}]
    )


def _node(hit: Hit) -> Node:
    return Node.model_construct(
        doc_id=hit.doc_id,
        node_id=hit.node_id,
        text=hit.text,
        score=hit.score,
        dense_score=hit.dense_score,
        sparse_score=hit.sparse_score,
        source=hit.source,
        metadata=dict(hit.metadata),
        position=hit.position,
        start=hit.start,
        end=hit.end,
    )
