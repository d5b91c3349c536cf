"""The seams: how the parts of the service see each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rag.documents import Batch, Hit, IndexSpec, Metadata, Page, Query, Stored, Vectors


class Embedder(Protocol):
    """Text to vectors. Safe to call from many tasks at once; raises EmbedderError."""

    @property
    def model(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def directory(self) -> Path | None:
        """Of the model's files, its tokenizer among them; None where a service has them."""
        ...

    @property
    def max_tokens(self) -> int:
        """What the model reads of a text; 0 where nobody knows."""
        ...

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(len(texts), dimension), unit length; any number of texts, batched inside."""
        ...

    async def embed_query(self, text: str) -> Vectors:
        """(dimension,), unit length. Queries that wait at the same time are embedded together."""
        ...

    async def close(self) -> None: ...


class Index(Protocol):
    """One named index. Blocking, to be called in worker threads; any number of readers beside one
    writer (writers are let in one after another). What `apply` has returned from is durable."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> IndexSpec: ...

    def apply(self, batch: Batch) -> None:
        """All of it or nothing. Raises StorageError, StorageFullError, NotWritableError."""
        ...

    def stored(self, doc_ids: Collection[str]) -> Mapping[str, Stored]:
        """Those of the documents that are there."""
        ...

    def texts(self, doc_ids: Collection[str]) -> Mapping[str, str]:
        """Of those of the documents that are there."""
        ...

    def vectors(self, doc_id: str) -> Mapping[str, Vectors]:
        """A document's vectors by `Chunk.embedded_hash`, so that only what changed is embedded."""
        ...

    def page(self, *, limit: int, offset: int, metadata_filter: Metadata | None = None) -> Page: ...

    def search(self, queries: Sequence[Query]) -> Iterable[list[Hit]]:
        """For each query its hits, best first, and as soon as they are found. Several at once cost
        less than one by one."""
        ...

    def count(self) -> tuple[int, int]:
        """Documents and chunks."""
        ...


class Store(Protocol):
    """All indexes of the service. Blocking, as Index is."""

    @property
    def writable(self) -> bool:
        """False while another process holds the files; reading works all the same."""
        ...

    def wait_writable(self, seconds: float) -> bool: ...

    @property
    def elsewhere(self) -> bool:
        """Whether `get` asks another process; else it may be called where nothing may wait."""
        ...

    def names(self) -> list[str]: ...

    def get(self, name: str) -> Index:
        """Raises UnknownIndexError, NotReadyError."""
        ...

    def create(self, name: str, spec: IndexSpec) -> Index:
        """The index of that name, made where there is none; racing creates get the same one."""
        ...

    def drop(self, name: str) -> None:
        """With all that is stored of it. Raises UnknownIndexError."""
        ...

    def persist(self, name: str, path: str | None) -> Path:
        """A snapshot, whole or not there at all. Raises UnknownIndexError, BadRequestError."""
        ...

    def load(self, name: str, path: str | None, *, overwrite: bool) -> Path:
        """Raises NotFoundError, IndexExistsError, BadRequestError (another embedder, a wrong sum,
        a later format)."""
        ...

    def close(self) -> None: ...
