"""Who waits for the one thread that computes: queries before documents, in the order of coming.

Documents are taken in portions, so that a query waits for one portion at most; queries that wait at
the same time are taken together.
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

QUERIES = 32
"""At once."""
_BYTES = 3
"""Of UTF-8 a token has so many at least, on the average of most texts in most languages; portions
need no better guess."""

Encode: TypeAlias = Callable[[Sequence[str], bool], Vectors]
"""Texts, and whether they are queries."""
_STOPPING = "The embedder is stopping."
_Entry = TypeVar("_Entry")
_Query: TypeAlias = tuple[str, Future[Vectors]]


@dataclass(slots=True)
class _Request:
    """Texts of one caller; those that are alike in length are embedded together."""

    texts: Sequence[str]
    portions: deque[list[int]]
    answer: Future[Vectors]
    parts: dict[int, Vectors] = field(default_factory=dict)

    def whole(self) -> Vectors:
        """In the order of the texts, of which there is one at least."""
        return np.stack([self.parts[at] for at in range(len(self.texts))])


class Lines:
    """A thread, and what it has to do. Safe to call from any thread."""

    def __init__(self, encode: Encode, batch_tokens: int) -> None:
        self._encode = encode
        self._batch_tokens = batch_tokens
        self._queries: deque[_Query] = deque()
        self._documents: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="embedder", daemon=True)
        self._thread.start()

    def documents(self, texts: Sequence[str]) -> Future[Vectors]:
        """(len(texts), dimension); one text at least."""
        request = _Request(texts, portions(texts, self._batch_tokens), Future())
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
            self._changed.notify()
        self._thread.join()

    def _put(self, line: deque[_Entry], entry: _Entry, answer: Future[Vectors]) -> None:
        with self._changed:
            if self._closed:
                answer.set_exception(EmbedderError(_STOPPING))
                return
            line.append(entry)
            self._changed.notify()

    def _work(self) -> None:
        priority.lower()  # torch starts its threads from here
        while True:
            with self._changed:
                while not (self._queries or self._documents or self._closed):
                    self._changed.wait()
                if self._closed:
                    break
                queries = self._next_queries()
                request = None if queries else self._next_request()
            if queries:
                self._embed_queries(queries)
            elif request is not None:
                self._embed_portion(request)
        self._refuse_rest()

    def _next_queries(self) -> list[_Query]:
        """Of those that are still waited for."""
        taken: list[_Query] = []
        while self._queries and len(taken) < QUERIES:
            each = self._queries.popleft()
            if each[1].set_running_or_notify_cancel():
                taken.append(each)
        return taken

    def _next_request(self) -> _Request | None:
        while self._documents:
            if not self._documents[0].answer.cancelled():
                return self._documents[0]
            self._documents.popleft()
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

    def _embed_portion(self, request: _Request) -> None:
        """One of the first in the line, so that a query waits no longer; its caller may be gone
        meanwhile."""
        answer = request.answer
        try:
            if request.portions:
                places = request.portions.popleft()
                vectors = self._encode([request.texts[at] for at in places], False)
                request.parts.update(zip(places, vectors, strict=True))
            if request.portions:
                return
            whole = request.whole()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            self._documents.popleft()
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
            return
        self._documents.popleft()
        if answer.set_running_or_notify_cancel():
            answer.set_result(whole)

    def _refuse_rest(self) -> None:
        waiting = [answer for _, answer in self._queries]
        waiting += [each.answer for each in self._documents]
        for answer in waiting:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(EmbedderError(_STOPPING))


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
