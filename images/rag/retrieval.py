"""From a question to the chunks that may answer it. Nothing of one request is shared with another:
what it asks for travels with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Protocol, TypeVar, get_args

from rag import filters
from rag.documents import Hit, Metadata, Mode, Query
from rag.errors import InvalidError
from rag.protocols import Embedder, Index, Store
from rag.searches import SearchQueue

BATCH = 8
"""Searches at once. More would gain little, and let the first of them wait for one product of
matrices more."""
_MOST_THREADS = 4
_LOOKUPS = 4
"""At once; of a store elsewhere each is a round trip."""
_RERANKED = 4
_RERANKED_AT_LEAST = 20
"""So many times, and no fewer than so many of the chunks that are asked for are read again."""

ResultT = TypeVar("ResultT")


class Reranker(Protocol):
    """Reads question and text together, which is slower and better than comparing vectors."""

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """A score for each text, higher is better."""
        ...


@dataclass(frozen=True, slots=True)
class Retrieved:
    hits: tuple[Hit, ...]
    """Best first."""
    timings: Mapping[str, float]
    """Seconds of what was done: embed, search, rerank. Waiting for a thread is part of search."""


class Retriever:
    """Over all indexes of a store. The event loop only hands over."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        reranker: Reranker | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        """`threads`: batches of searches that run side by side. Fewer threads, larger batches:
        on two processors, one has the better latency, and leaves the other to the embedder."""
        self._store = store
        self._embedder = embedder
        self._reranker = reranker
        self._searches = SearchQueue(threads or _threads(), BATCH)
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookup")

    async def check(self, name: str) -> None:
        """Raises UnknownIndexError, NotReadyError, StorageError."""
        await self._index(name)

    async def retrieve(
        self,
        name: str,
        text: str,
        *,
        top_k: int,
        mode: Mode = "hybrid",
        metadata_filter: Metadata | None = None,
        rerank: bool = False,
    ) -> Retrieved:
        """Raises UnknownIndexError before anything is embedded; EmbedderError, InvalidError,
        NotReadyError, StorageError."""
        if mode not in get_args(Mode):
            raise InvalidError(f"A mode is one of {', '.join(get_args(Mode))}.", "mode")
        if rerank and self._reranker is None:
            raise InvalidError("This service has no reranker.", "rerank")
        wanted = filters.checked(metadata_filter)
        index = await self._index(name)
        timings: dict[str, float] = {}
        vector = None
        if mode != "sparse":
            vector = await _timed(timings, "embed", self._embedder.embed_query(text))
        pool = max(_RERANKED * top_k, _RERANKED_AT_LEAST) if rerank else top_k
        query = Query(text, vector, pool, mode, wanted)
        hits = await _timed(timings, "search", self._searches.search(index, query))
        if rerank and self._reranker is not None and hits:
            ranking = self._reranker.rerank(text, [hit.text for hit in hits])
            hits = _reordered(hits, await _timed(timings, "rerank", ranking))
        return Retrieved(tuple(hits[:top_k]), timings)

    async def close(self) -> None:
        await self._searches.close()
        self._lookups.shutdown()

    async def _index(self, name: str) -> Index:
        if not self._store.elsewhere:
            return self._store.get(name)
        find = partial(self._store.get, name)
        return await asyncio.get_running_loop().run_in_executor(self._lookups, find)


async def _timed(timings: dict[str, float], name: str, work: Awaitable[ResultT]) -> ResultT:
    begun = perf_counter()
    try:
        return await work
    finally:
        timings[name] = perf_counter() - begun


def _threads() -> int:
    return min(_MOST_THREADS, max(1, (os.cpu_count() or 1) // 2))


def _reordered(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """By the reranker's scores, which take the place of the former; of equals as they were."""
    pairs = zip(hits, scores, strict=True)
    ranked = sorted(pairs, key=lambda pair: pair[1], reverse=True)
    return [replace(hit, score=float(score)) for hit, score in ranked]
