"""Documents into an index, and out of it. What was told as done is durable; a request that ends
early leaves what was done, and nothing half."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from weakref import WeakValueDictionary

from rag.documents import Batch, IndexSpec
from rag.embedding.fingerprint import spec_of
from rag.errors import NotWritableError, UnknownIndexError
from rag.ingest import checking
from rag.ingest.caller import Caller
from rag.ingest.chunking import Chunker
from rag.ingest.judging import Judge
from rag.ingest.pipeline import Pipeline
from rag.ingest.results import (
    DeleteResult,
    DocumentResult,
    NewDocument,
    Progress,
    UpdateResult,
)
from rag.ingest.settings import IngestSettings
from rag.ingest.tokens import UNCOUNTED, Counter
from rag.protocols import Embedder, Index, Store

_RETRY_SECONDS = 5.0
_POLL_SECONDS = 0.1


class Ingester:
    """Over all indexes of a store. Any number of requests at once."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        settings: IngestSettings,
        counter: Callable[[], Awaitable[Counter]] | None = None,
    ) -> None:
        """`counter` is asked when there is something to cut, until it answers: a service that
        embeds may come later than we do. It raises EmbedderError."""
        self._store = store
        self._embedder = embedder
        self._settings = settings
        self._counter = counter
        self._judge: Judge | None = None
        self._spec: IndexSpec | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(
        self, name: str, documents: Sequence[NewDocument]
    ) -> AsyncGenerator[Progress, None]:
        """The first document makes the index. Raises InvalidError for too many documents,
        NotWritableError; what is wrong with one document is its result."""
        checking.check_count(documents, self._settings)
        if not documents:
            return
        await self._writable()
        index = await self._existing(name)
        done = 0
        async with aclosing(self._run(name, index, documents, update=False)) as steps:
            async for results in steps:
                done += len(results)
                yield Progress(done, len(documents), results)

    async def update(self, name: str, documents: Sequence[NewDocument]) -> UpdateResult:
        """By `doc_id`, which stays although the text changes. Raises UnknownIndexError."""
        checking.check_count(documents, self._settings)
        index = await asyncio.to_thread(self._store.get, name)
        await self._writable()
        async with aclosing(self._run(name, index, documents, update=True)) as steps:
            return UpdateResult(tuple([each async for results in steps for each in results]))

    async def delete(self, name: str, doc_ids: Sequence[str]) -> DeleteResult:
        """Raises UnknownIndexError."""
        index = await asyncio.to_thread(self._store.get, name)
        await self._writable()
        wanted = tuple(dict.fromkeys(doc_ids))
        async with self._writing(name):
            there = await asyncio.to_thread(index.stored, wanted)
            gone = tuple(each for each in wanted if each in there)
            if gone:
                await asyncio.to_thread(index.apply, Batch(delete=gone))
        return DeleteResult(gone, tuple(each for each in wanted if each not in there))

    async def _run(
        self, name: str, index: Index | None, documents: Sequence[NewDocument], *, update: bool
    ) -> AsyncGenerator[tuple[DocumentResult, ...], None]:
        async def create() -> Index:
            return await asyncio.to_thread(self._store.create, name, await self._present())

        caller = Caller()
        judge = partial((await self._judging()).judged, documents, caller=caller, update=update)
        try:
            judged = await asyncio.to_thread(judge, index)
        except UnknownIndexError:
            if update:
                raise
            index = None  # dropped since it was found; what is put makes it anew
            judged = await asyncio.to_thread(judge, index)
        pipeline = Pipeline(
            index, create, self._embedder, self._settings, self._writing(name), update=update
        )
        try:
            async with aclosing(pipeline.run(judged)) as steps:
                async for results in steps:
                    yield results
        finally:
            caller.leave()

    async def _judging(self) -> Judge:
        if self._judge is None:
            counter = UNCOUNTED if self._counter is None else await self._counter()
            self._judge = Judge(self._settings, Chunker(self._settings, counter))
        return self._judge

    def _writing(self, name: str) -> asyncio.Lock:
        """Held from the last look at what is there until the change is made, by one at a time."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    async def _writable(self) -> None:
        """Without a thread for each that waits: there may be as many as there are requests, and
        what reads needs threads meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.write_wait
        while not self._store.writable:
            left = until - loop.time()
            if left <= 0:
                raise NotWritableError(
                    "Another process holds the files, and has not let go of them within"
                    f" {self._settings.write_wait:g} s.",
                    retry_after=_RETRY_SECONDS,
                )
            await asyncio.sleep(min(left, _POLL_SECONDS))

    async def _existing(self, name: str) -> Index | None:
        try:
            return await asyncio.to_thread(self._store.get, name)
        except UnknownIndexError:
            return None

    async def _present(self) -> IndexSpec:
        """What an index that is made now is made with."""
        if self._spec is None:
            self._spec = await spec_of(self._embedder)
        return self._spec
