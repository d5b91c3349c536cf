"""Who waits for the threads that compute: queries before documents, in the order of coming.

Documents are taken in portions, so that a query waits for one portion at most.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np

from rag.documents import Vectors
from rag.embedding import priority
from rag.errors import EmbedderError

_BYTES = 3
"""Of UTF-8 a token has so many at least, on the average of most texts in most languages; portions
need no better guess."""

Encode: TypeAlias = Callable[[Sequence[str], bool], Vectors]
"""Texts, and whether they are queries."""
_STOPPING = "The embedder is stopping."
_Entry = TypeVar("_Entry")
_Query: TypeAlias = tuple[str, Future[Vectors]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How a model is fed best. What computes one call by all cores wants large ones; what computes
    each by one core wants as many at once as there are cores, and small ones: nothing is padded,
    and nobody waits for the rest of a batch."""

    threads: int
    queries: int
    """In one call, of those that wait."""
    batch_tokens: int
    """In one call, of documents, padding included; one text is never too long."""


@dataclass(slots=True)
class _Request:
    """Texts of one caller; those that are alike in length are embedded together."""

    texts: Sequence[str]
    portions: deque[list[int]]
    answer: Future[Vectors]
    found: dict[int, Vectors] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.found) == len(self.texts)

    def whole(self) -> Vectors:
        """In the order of the texts, of which there is one at least."""
        return np.stack([self.found[at] for at in range(len(self.texts))])


class Lines:
    """Threads, and what they have to do. Safe to call from any thread."""

    def __init__(self, encode: Encode, pace: Pace) -> None:
        """`encode` is called by so many threads at a time as the pace says."""
        self._encode = encode
        self._pace = pace
        self._queries: deque[_Query] = deque()
        self._documents: deque[_Request] = deque()
        """Those of which portions are left to take."""
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"embedder-{at}", daemon=True)
            for at in range(pace.threads)
        ]
        for each in self._threads:
            each.start()

    def documents(self, texts: Sequence[str]) -> Future[Vectors]:
        """(len(texts), dimension); one text at least."""
        request = _Request(texts, portions(texts, self._pace.batch_tokens), Future())
        if not texts:
            request.answer.set_exception(ValueError("there is nothing to embed"))
            return request.answer
        self._put(self._documents, request, request.answer)
        return request.answer

    def query(self, text: str) -> Future[Vectors]:
        """(dimension,)"""
        answer: Future[Vectors] = Future()
        self._put(self._queries, (text, answer), answer)
        return answer

    def close(self) -> None:
        """What is being computed is finished; whoever waits is told that nothing comes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for each in self._threads:
            each.join()
        waiting = [answer for _, answer in self._queries]
        waiting += [each.answer for each in self._documents]
        for answer in waiting:
            _fail(answer, EmbedderError(_STOPPING))

    def _put(self, line: deque[_Entry], entry: _Entry, answer: Future[Vectors]) -> None:
        with self._changed:
            if self._closed:
                answer.set_exception(EmbedderError(_STOPPING))
                return
            line.append(entry)
            self._changed.notify_all()

    def _work(self) -> None:
        priority.lower()  # of what the model may start from here, too
        while True:
            with self._changed:
                while not (self._queries or self._documents or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                queries = self._next_queries()
                portion = None if queries else self._next_portion()
            if queries:
                self._embed_queries(queries)
            elif portion is not None:
                self._embed_portion(*portion)

    def _next_queries(self) -> list[_Query]:
        """Of those that are still waited for."""
        taken: list[_Query] = []
        while self._queries and len(taken) < self._pace.queries:
            each = self._queries.popleft()
            if each[1].set_running_or_notify_cancel():
                taken.append(each)
        return taken

    def _next_portion(self) -> tuple[_Request, list[int]] | None:
        while self._documents:
            first = self._documents[0]
            if first.answer.done():  # who asked is gone, or has been told of an error
                self._documents.popleft()
                continue
            places = first.portions.popleft()
            if not first.portions:
                self._documents.popleft()
            return first, places
        return None

    def _embed_queries(self, queries: Sequence[_Query]) -> None:
        try:
            vectors = self._encode([text for text, _ in queries], True)
            pairs = list(zip(vectors, queries, strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked is told
            if len(queries) == 1:
                queries[0][1].set_exception(error)
                return
            for each in queries:  # one may be at fault, and the others are not
                self._embed_queries([each])
            return
        for vector, (_, answer) in pairs:
            answer.set_result(vector)

    def _embed_portion(self, request: _Request, places: Sequence[int]) -> None:
        """One of the first in the line, so that a query waits no longer; its caller may be gone
        meanwhile."""
        try:
            vectors = self._encode([request.texts[at] for at in places], False)
            found = dict(zip(places, vectors, strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            with self._changed:
                _fail(request.answer, error)
            return
        with self._changed:  # who puts the last one in has the whole, and nobody else
            request.found.update(found)
            last = request.complete and not request.answer.done()
        if last and request.answer.set_running_or_notify_cancel():
            request.answer.set_result(request.whole())


def _fail(answer: Future[Vectors], error: Exception) -> None:
    """Who has been told, or is gone, is not told again."""
    if not answer.done() and answer.set_running_or_notify_cancel():
        answer.set_exception(error)


def portions(texts: Sequence[str], batch_tokens: int) -> deque[list[int]]:
    """Places of texts that are embedded together: of like length, the longest first, and no more
    than so many tokens with the padding, but one text at least."""
    tokens = [estimated_tokens(text) for text in texts]
    order = sorted(range(len(texts)), key=lambda at: -tokens[at])
    found: deque[list[int]] = deque()
    longest = 0
    for at in order:
        if found and (len(found[-1]) + 1) * longest <= batch_tokens:
            found[-1].append(at)
        else:
            found.append([at])
            longest = tokens[at]
    return found


def estimated_tokens(text: str) -> int:
    """With the two that most models set around a text."""
    return 2 + len(text.encode("utf-8", "surrogatepass")) // _BYTES
