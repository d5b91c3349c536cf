"""Searches in worker threads: those that wait at the same time for the same index go as one.

A search that finds a free thread starts at once and alone; while all are busy, what comes waits,
and the next free thread takes what waits for one index together, which costs less than one by one.
The more there is to do, the larger the batches, with no delay to choose. Each of a batch is
answered as soon as its own hits are found.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rag.documents import Hit, Query
from rag.errors import NotReadyError, StorageError
from rag.protocols import Index

Outcome = list[Hit] | Exception
Tell = Callable[[int, Outcome], None]
"""Of which query of a batch."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    query: Query
    answer: asyncio.Future[list[Hit]]


class SearchQueue:
    """Of one event loop. Indexes take turns, and within one whoever came first goes first."""

    def __init__(self, threads: int, batch: int) -> None:
        """`batch`: searches at most that one thread does at once."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="search")
        self._free = threads
        self._batch = batch
        self._queues: OrderedDict[int, tuple[Index, deque[_Waiting]]] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def search(self, index: Index, query: Query) -> list[Hit]:
        """Raises what the index raises on this query, whatever it thinks of those beside it."""
        if self._closed:
            raise NotReadyError("The service is shutting down.")
        waiting = _Waiting(query, asyncio.get_running_loop().create_future())
        # One object is one index: of the same name there may be another by now.
        self._queues.setdefault(id(index), (index, deque()))[1].append(waiting)
        self._start()
        return await waiting.answer

    async def close(self) -> None:
        """What runs is finished, what waits is refused."""
        self._closed = True
        for _, queue in self._queues.values():
            for each in queue:
                if not each.answer.done():
                    each.answer.set_exception(NotReadyError("The service is shutting down."))
        self._queues.clear()
        await asyncio.gather(*self._running)
        self._pool.shutdown()

    def _start(self) -> None:
        while self._free and self._queues:
            key, (index, queue) = self._queues.popitem(last=False)
            batch: list[_Waiting] = []
            while queue and len(batch) < self._batch:
                if not (each := queue.popleft()).answer.done():  # nobody waits for a cancelled one
                    batch.append(each)
            if queue:
                self._queues[key] = (index, queue)  # behind the others
            if batch:
                self._free -= 1
                task = asyncio.create_task(self._run(index, batch))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _run(self, index: Index, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()

        def tell(at: int, outcome: Outcome) -> None:
            loop.call_soon_threadsafe(_answer, batch[at].answer, outcome)

        try:
            queries = [each.query for each in batch]
            await loop.run_in_executor(self._pool, _search, index, queries, tell)
        finally:
            self._free += 1
            self._start()


def _answer(waiting: asyncio.Future[list[Hit]], outcome: Outcome) -> None:
    if waiting.done():
        return
    if isinstance(outcome, Exception):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)


def _search(index: Index, queries: Sequence[Query], tell: Tell) -> None:
    """Tells the outcome of each, by its place; in a thread."""
    told = 0
    try:
        for at, hits in zip(range(len(queries)), index.search(queries), strict=True):
            tell(at, hits)
            told = at + 1
    except StorageError as error:
        for at in range(told, len(queries)):  # is no query's fault, and would be no better alone
            tell(at, error)
    except Exception as error:  # noqa: BLE001  # raised where the search was asked for
        if len(queries) == 1:
            tell(0, error)
            return
        # One of the rest is at fault, and only who asked it is told.
        for at in range(told, len(queries)):
            _search(index, [queries[at]], partial(_told_for, tell, at))


def _told_for(tell: Tell, at: int, _: int, outcome: Outcome) -> None:
    tell(at, outcome)
