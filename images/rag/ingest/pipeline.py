"""Three stages beside one another: the next group is cut while one is embedded and another is
stored, so that the embedder, which is slowest, never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, replace

from rag.documents import Batch
from rag.errors import (
    NotFoundError,
    NotReadyError,
    NotWritableError,
    RagError,
    StorageError,
    UnknownIndexError,
)
from rag.ingest.groups import Fate, Fates, Group, Judged, Lacking, grouped, lacking
from rag.ingest.refusals import Embedded, embedded
from rag.ingest.results import DocumentResult
from rag.ingest.settings import IngestSettings
from rag.protocols import Embedder, Index

GIVEN_UP = 2
"""Groups in a row that the embedder failed at, after which it is not asked for the rest."""
_BREAKING = (StorageError, NotWritableError, NotFoundError)
"""What the next group would meet as well: no room, no lock, an index that was dropped meanwhile."""
_MADE_ANEW = 10
"""Times that an index is, which somebody drops while documents are put into it."""


_NOTHING = Embedded()


@dataclass(frozen=True, slots=True)
class _Work:
    group: Group
    lacking: Lacking
    embedded: Embedded = _NOTHING
    """Of what is lacking, once it is embedded."""
    error: RagError | None = None

    def refused(self) -> dict[str, Fate]:
        """Documents with a text that the embedder does not take."""
        why = self.embedded.refused
        return {
            cut.document.doc_id: ("failed", why[chunk.embedded_hash])
            for cut in (self.group.due if why else ())
            for chunk in cut.chunks
            if chunk.embedded_hash in why
        }


_Queue = asyncio.Queue[_Work | Exception | None]
"""Ends with None, or with why there is no more."""


class Pipeline:
    """Of one request."""

    def __init__(
        self,
        index: Index | None,
        create: Callable[[], Awaitable[Index]],
        embedder: Embedder,
        settings: IngestSettings,
        writing: asyncio.Lock,
        *,
        update: bool,
    ) -> None:
        """`index` is made by `create` where there is none yet and something is to be stored.
        `writing`: of all who change the index. With `update`, what is gone stays gone."""
        self._index = index
        self._create = create
        self._embedder = embedder
        self._settings = settings
        self._writing = writing
        self._update = update
        self._broken: RagError | None = None
        """Why nothing more is stored, nor embedded."""

    async def run(
        self, judged: Iterator[Judged]
    ) -> AsyncGenerator[tuple[DocumentResult, ...], None]:
        """The results of each group, once it is durable."""
        cut: _Queue = asyncio.Queue(self._settings.groups_ahead)
        ready: _Queue = asyncio.Queue(1)
        stages = [
            asyncio.create_task(_ended(self._cut_all(judged, cut), cut)),
            asyncio.create_task(_ended(self._embed_all(cut, ready), ready)),
        ]
        lost: dict[str, Fate] = {}
        try:
            while (work := await _next(ready)) is not None:
                fates = await self._store(work)
                yield work.group.results(fates, lost)
        finally:
            for stage in stages:
                stage.cancel()
            await asyncio.gather(*stages, return_exceptions=True)

    async def _cut_all(self, judged: Iterator[Judged], queue: _Queue) -> None:
        groups = grouped(judged, self._settings)
        while (group := await asyncio.to_thread(next, groups, None)) is not None:
            try:
                missing = await asyncio.to_thread(self._lacking, group)
                work = _Work(group, missing)
            except RagError as error:
                work = _Work(group, Lacking({}, (), ()), error=error)
            await queue.put(work)

    async def _embed_all(self, cut: _Queue, queue: _Queue) -> None:
        failed = 0
        error: RagError | None = None
        while (work := await _next(cut)) is not None:
            if work.lacking.texts and self._broken is None:
                if failed < GIVEN_UP:
                    try:
                        found = await embedded(self._embedder, work.lacking)
                        work, failed, error = replace(work, embedded=found), 0, None
                    except RagError as fault:
                        failed, error = failed + 1, fault
                if error is not None:
                    work = replace(work, error=error)
            await queue.put(work)

    async def _store(self, work: _Work) -> Fates:
        """Of what was not."""
        error = work.error or self._broken
        if error is not None:
            return work.group.failed(error)
        fates = work.refused()
        cuts = [cut for cut in work.group.due if cut.document.doc_id not in fates]
        if not cuts:
            return fates
        try:
            batch = await asyncio.to_thread(work.lacking.batch, cuts, work.embedded.vectors)
            gone = await self._apply(batch)
        except RagError as refused:
            if isinstance(refused, _BREAKING):
                self._broken = refused
            return work.group.failed(refused)
        return {**fates, **dict.fromkeys(gone, ("not_found", None))}

    def _lacking(self, group: Group) -> Lacking:
        try:
            return lacking(group.due, self._index, group.changed)
        except UnknownIndexError:
            if self._update:
                raise
            return lacking(group.due, None, ())

    async def _apply(self, batch: Batch) -> list[str]:
        """Documents that were to be updated and have been deleted meanwhile. What is put makes the
        index, also where it was there and has been dropped."""
        for _ in range(_MADE_ANEW):
            index = self._index = self._index or await self._create()
            try:
                return await self._apply_to(index, batch)
            except UnknownIndexError:
                if self._update:
                    raise
                self._index = None
        raise NotReadyError("The index is dropped again and again.", retry_after=1.0)

    async def _apply_to(self, index: Index, batch: Batch) -> list[str]:
        ids = [each.document.doc_id for each in batch.put]
        async with self._writing:
            there = set(await asyncio.to_thread(index.stored, ids) if self._update else ids)
            put = tuple(each for each in batch.put if each.document.doc_id in there)
            if put:
                await asyncio.to_thread(index.apply, Batch(put=put))
        return [each for each in ids if each not in there]


async def _ended(stage: Coroutine[None, None, None], queue: _Queue) -> None:
    """A stage whose error is heard of by the next one."""
    end: Exception | None = None
    try:
        await stage
    except Exception as error:  # noqa: BLE001 - raised where the queue is read
        end = error
    await queue.put(end)


async def _next(queue: _Queue) -> _Work | None:
    found = await queue.get()
    if isinstance(found, Exception):
        raise found
    return found
