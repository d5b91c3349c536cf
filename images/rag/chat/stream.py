"""An answer in pieces: events in, what the guardrails leave of them, events out.

Each piece keeps its id, model and time. With an index, the piece that ends the answer also has
`source_nodes` and `citations` at its top, where OpenAI's clients look at nothing that they do not
know. A stream that breaks ends with an error event and without [DONE]: it is not done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Final

from rag.chat import citations, sse
from rag.chat.guarded import Pieces
from rag.chat.llm import Opened, parse
from rag.chat.replies import STREAM_HEADERS, Stream
from rag.documents import Hit
from rag.errors import LlmError, RagError

Chunk = Mapping[str, Any]

_END: Final = object()


def stream(
    opened: Opened,
    *,
    hits: Sequence[Hit] | None,
    pieces: Pieces,
    keep_alive: float,
    headers: Mapping[str, str],
) -> Stream:
    """`hits` is None where nothing was looked up."""
    chunks = _guarded(_chunks(opened), pieces)
    if hits is not None:
        chunks = _with_sources(chunks, hits)
    events = _events(chunks, keep_alive)

    async def close() -> None:
        await events.aclose()
        await opened.close()

    return Stream(events, {**STREAM_HEADERS, **headers}, close)


async def _chunks(opened: Opened) -> AsyncGenerator[Chunk, None]:
    """To the end that the service sets. LlmError where it sets none, or sends what is no piece."""
    parser = sse.Parser()
    unfinished: dict[Any, bool] = {}
    try:
        async with contextlib.aclosing(opened.pieces()) as received:
            async for bytes_ in received:
                for event in _parsed(parser, bytes_):
                    if event.data == sse.DONE:
                        return
                    chunk = _chunk(event)
                    unfinished.update(_finishes(chunk))
                    yield chunk
                    if "error" in chunk:
                        return
        if not unfinished or any(unfinished.values()):
            raise LlmError("The inference service ended its answer in the middle.")
    finally:
        await opened.close()


def _parsed(parser: sse.Parser, piece: bytes) -> list[sse.Event]:
    try:
        return parser.feed(piece)
    except sse.TooLongError as error:
        raise LlmError(f"The inference service sent {error}.") from None


def _chunk(event: sse.Event) -> dict[str, Any]:
    try:
        found = parse(event.data)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not _is_piece(found):
        raise LlmError("The inference service sent an event that is no piece of a completion.")
    return found


def _is_piece(chunk: Chunk) -> bool:
    choices = chunk.get("choices") or []
    return isinstance(choices, list) and all(
        isinstance(each.get("index", 0), int) for each in choices if isinstance(each, dict)
    )


def _finishes(chunk: Chunk) -> dict[Any, bool]:
    """Of each choice, whether there is more to come."""
    choices = chunk.get("choices")
    return {
        each.get("index", 0): each.get("finish_reason") is None
        for each in (choices if isinstance(choices, list) else ())
        if isinstance(each, dict)
    }


async def _guarded(
    chunks: AsyncGenerator[Chunk, None], pieces: Pieces
) -> AsyncGenerator[Chunk, None]:
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            passed = pieces.feed(chunk)
            for each in passed.chunks:
                yield each
            if passed.blocked or "error" in chunk:
                return
        for each in pieces.end().chunks:
            yield each


async def _with_sources(
    chunks: AsyncGenerator[Chunk, None], hits: Sequence[Hit]
) -> AsyncGenerator[Chunk, None]:
    """On the piece that ends the answer; on one of their own where none does."""
    said: list[str] = []
    told, last = False, None
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            said += _said(chunk)
            ends = any(not more for more in _finishes(chunk).values())
            if ends:
                chunk, told = {**chunk, **citations.extension(hits, "".join(said))}, True
            yield chunk
            last = chunk
    if not told and last is not None and "error" not in last:
        named = {name: last[name] for name in ("id", "object", "created", "model") if name in last}
        yield {**named, "choices": [], **citations.extension(hits, "".join(said))}


def _said(chunk: Chunk) -> list[str]:
    choices = chunk.get("choices")
    deltas = [
        each.get("delta")
        for each in (choices if isinstance(choices, list) else ())
        if isinstance(each, dict)
    ]
    contents = [each.get("content") for each in deltas if isinstance(each, dict)]
    return [each for each in contents if isinstance(each, str)]


async def _events(
    chunks: AsyncGenerator[Chunk, None], keep_alive: float
) -> AsyncGenerator[bytes, None]:
    failed = False
    async with contextlib.aclosing(chunks):
        try:
            async with contextlib.aclosing(_paced(chunks, keep_alive)) as paced:
                async for chunk in paced:
                    yield sse.KEEP_ALIVE if chunk is None else sse.event(chunk)
                    failed |= chunk is not None and "error" in chunk
        except RagError as error:
            yield sse.error_event(error.detail, status=error.status)
            return
    if not failed:
        yield sse.DONE_EVENT


async def _paced(
    chunks: AsyncIterator[Chunk], seconds: float
) -> AsyncGenerator[Chunk | None, None]:
    """None where nothing has come for so long."""
    while True:
        task = asyncio.ensure_future(_next(chunks))
        try:
            while not (await asyncio.wait({task}, timeout=seconds))[0]:
                yield None
        finally:
            if not task.done():
                task.cancel()
                await _ended(task)
        chunk = task.result()
        if chunk is _END:
            return
        yield chunk


async def _ended(task: asyncio.Future[Any]) -> None:
    """A server cancels again and again until a request is gone. What the task still does must not
    be cut short: it closes the connection, without which the inference service would go on."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def _next(chunks: AsyncIterator[Chunk]) -> Any:
    return await anext(chunks, _END)
