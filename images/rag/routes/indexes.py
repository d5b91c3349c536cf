"""Indexes as wholes: their names, their end, their snapshots."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from rag.parts import Used
from rag.schemas import Message, Problem
from rag.storage import names

router = APIRouter(tags=["indexes"])
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
_PATH = Query(description="Below the directory of the service; by default the index's own place.")


@router.get("/indexes", summary="List all indexes")
async def list_indexes(parts: Used) -> list[str]:
    return await asyncio.to_thread(parts.store.names)


@router.delete("/indexes/{index_name}", summary="Delete an index", responses=_UNKNOWN)
async def delete_index(index_name: str, parts: Used) -> Message:
    """With all that is stored of it."""
    async with parts.changing:
        await asyncio.to_thread(parts.store.drop, index_name)
    return Message(message=f"Successfully deleted index {index_name}.")


@router.post("/persist/{index_name}", summary="Write a snapshot", responses=_UNKNOWN)
async def persist_index(
    index_name: str, parts: Used, path: Annotated[str | None, _PATH] = None
) -> Message:
    """What was put is on disk in any case; a snapshot is a copy to keep or to carry elsewhere."""
    written = await asyncio.to_thread(parts.store.persist, index_name, path)
    return Message(message=f"Successfully persisted index {index_name} to {written}.")


@router.post(
    "/load/{index_name}",
    summary="Load a snapshot",
    responses={**_UNKNOWN, 409: {"model": Problem}},
)
async def load_index(
    index_name: str,
    parts: Used,
    path: Annotated[str | None, _PATH] = None,
    overwrite: Annotated[bool, Query(description="Replace the index of that name.")] = False,
) -> Message:
    names.validate(index_name, "path", "index_name")
    async with parts.changing:
        read = await asyncio.to_thread(parts.store.load, index_name, path, overwrite=overwrite)
    return Message(message=f"Successfully loaded index {index_name} from {read}.")
