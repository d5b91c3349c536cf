"""The parts, timed: what they take shows in the metrics, and they know nothing of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from weakref import WeakValueDictionary

from rag.chat.seams import Retrieved, Retriever
from rag.documents import (
    Batch,
    Hit,
    IndexSpec,
    Metadata,
    Mode,
    Page,
    Query,
    Stored,
    Vectors,
)
from rag.metrics import Metrics
from rag.protocols import Embedder, Index, Store


class MeasuredEmbedder:
    """`mode` is local or remote."""

    def __init__(self, embedder: Embedder, metrics: Metrics, mode: str) -> None:
        self._embedder = embedder
        self._metrics = metrics
        self._mode = mode

    @property
    def model(self) -> str:
        return self._embedder.model

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    @property
    def directory(self) -> Path | None:
        return self._embedder.directory

    @property
    def max_tokens(self) -> int:
        return self._embedder.max_tokens

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        with self._metrics.embedding(self._mode):
            return await self._embedder.embed_documents(texts)

    async def embed_query(self, text: str) -> Vectors:
        with self._metrics.embedding(self._mode):
            return await self._embedder.embed_query(text)

    async def close(self) -> None:
        await self._embedder.close()


class MeasuredIndex:
    def __init__(self, index: Index, metrics: Metrics) -> None:
        self._index = index
        self._metrics = metrics

    @property
    def name(self) -> str:
        return self._index.name

    @property
    def spec(self) -> IndexSpec:
        return self._index.spec

    def measures(self, index: Index) -> bool:
        return self._index is index

    def apply(self, batch: Batch) -> None:
        done = [name for name, some in (("insert", batch.put), ("delete", batch.delete)) if some]
        with self._metrics.store(*done):
            self._index.apply(batch)

    def stored(self, doc_ids: Collection[str]) -> Mapping[str, Stored]:
        return self._index.stored(doc_ids)

    def texts(self, doc_ids: Collection[str]) -> Mapping[str, str]:
        return self._index.texts(doc_ids)

    def vectors(self, doc_id: str) -> Mapping[str, Vectors]:
        return self._index.vectors(doc_id)

    def page(self, *, limit: int, offset: int, metadata_filter: Metadata | None = None) -> Page:
        return self._index.page(limit=limit, offset=offset, metadata_filter=metadata_filter)

    def search(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        with self._metrics.store("query"):
            yield from self._index.search(queries)

    def count(self) -> tuple[int, int]:
        return self._index.count()


class MeasuredStore:
    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._indexes: WeakValueDictionary[str, MeasuredIndex] = WeakValueDictionary()
        """The same object for the same index while somebody has it, since searches of one are
        gathered; and no longer, or an index that another process dropped would stay in memory."""

    @property
    def writable(self) -> bool:
        return self._store.writable

    def wait_writable(self, seconds: float) -> bool:
        return self._store.wait_writable(seconds)

    @property
    def elsewhere(self) -> bool:
        return self._store.elsewhere

    def names(self) -> list[str]:
        return self._store.names()

    def get(self, name: str) -> Index:
        return self._measured(self._store.get(name))

    def create(self, name: str, spec: IndexSpec) -> Index:
        return self._measured(self._store.create(name, spec))

    def drop(self, name: str) -> None:
        self._store.drop(name)

    def persist(self, name: str, path: str | None) -> Path:
        return self._store.persist(name, path)

    def load(self, name: str, path: str | None, *, overwrite: bool) -> Path:
        return self._store.load(name, path, overwrite=overwrite)

    def close(self) -> None:
        self._store.close()

    def _measured(self, index: Index) -> MeasuredIndex:
        known = self._indexes.get(index.name)
        if known is None or not known.measures(index):
            known = MeasuredIndex(index, self._metrics)
            self._indexes[index.name] = known
        return known


class MeasuredRetriever:
    """Whoever asks it: `/retrieve`, and chats."""

    def __init__(self, retriever: Retriever, metrics: Metrics) -> None:
        self._retriever = retriever
        self._metrics = metrics

    async def check(self, name: str) -> None:
        await self._retriever.check(name)

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
        begun = perf_counter()
        found = await self._retriever.retrieve(
            name, text, top_k=top_k, mode=mode, metadata_filter=metadata_filter, rerank=rerank
        )
        self._metrics.retrieval.observe(found.hits, mode, top_k, perf_counter() - begun)
        return found
