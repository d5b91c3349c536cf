"""An embedder that tells what it was asked, and a store whose writes can be held up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rag.documents import Batch, Hit, IndexSpec, Metadata, Page, Query, Stored, Vectors
from rag.embedding import vectors
from rag.errors import EmbedderError, RefusedError
from rag.protocols import Index, Store

from tests.unit.rag.storage.samples import DIMENSION, ONE


class FakeEmbedder:
    """ONE's vectors. `hold` is awaited before each answer."""

    model = ONE.salt
    dimension = DIMENSION
    directory: Path | None = None
    max_tokens = 0

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.refuses: Callable[[Sequence[str]], bool] = lambda _: False
        self.dislikes: Callable[[str], bool] = lambda _: False
        """One such text, and it does not take what it is asked with."""
        self.hold: Callable[[Sequence[str]], Awaitable[None]] | None = None

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        if self.hold is not None:
            await self.hold(texts)
        if self.refuses(texts):
            raise EmbedderError(f"refused call {len(self.calls)}")
        if any(map(self.dislikes, texts)):
            raise RefusedError("it is too long")
        if not texts:
            return vectors.none(DIMENSION)
        return np.stack([ONE.vector(text) for text in texts])

    async def embed_query(self, text: str) -> Vectors:
        return ONE.vector(text)

    async def close(self) -> None:
        pass

    @property
    def asked(self) -> list[str]:
        return [text for call in self.calls for text in call]


class HookedIndex:
    def __init__(self, index: Index, before: Callable[[Batch], None]) -> None:
        self.index = index
        self._before = before

    @property
    def name(self) -> str:
        return self.index.name

    @property
    def spec(self) -> IndexSpec:
        return self.index.spec

    def apply(self, batch: Batch) -> None:
        self._before(batch)
        self.index.apply(batch)

    def stored(self, doc_ids: Collection[str]) -> Mapping[str, Stored]:
        return self.index.stored(doc_ids)

    def texts(self, doc_ids: Collection[str]) -> Mapping[str, str]:
        return self.index.texts(doc_ids)

    def vectors(self, doc_id: str) -> Mapping[str, Vectors]:
        return self.index.vectors(doc_id)

    def page(self, *, limit: int, offset: int, metadata_filter: Metadata | None = None) -> Page:
        return self.index.page(limit=limit, offset=offset, metadata_filter=metadata_filter)

    def search(self, queries: Sequence[Query]) -> Iterable[list[Hit]]:
        return self.index.search(queries)

    def count(self) -> tuple[int, int]:
        return self.index.count()


class HookedStore:
    """`before` is called with each batch, in the thread that writes it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before: Callable[[Batch], None] = lambda _: None
        self.is_writable = True

    @property
    def writable(self) -> bool:
        return self.is_writable

    def wait_writable(self, seconds: float) -> bool:
        raise AssertionError("a thread would wait")

    @property
    def elsewhere(self) -> bool:
        return self._store.elsewhere

    def names(self) -> list[str]:
        return self._store.names()

    def get(self, name: str) -> Index:
        return HookedIndex(self._store.get(name), lambda batch: self.before(batch))

    def create(self, name: str, spec: IndexSpec) -> Index:
        return HookedIndex(self._store.create(name, spec), lambda batch: self.before(batch))

    def drop(self, name: str) -> None:
        self._store.drop(name)

    def persist(self, name: str, path: str | None) -> Path:
        return self._store.persist(name, path)

    def load(self, name: str, path: str | None, *, overwrite: bool) -> Path:
        return self._store.load(name, path, overwrite=overwrite)

    def close(self) -> None:
        self._store.close()
