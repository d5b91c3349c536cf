"""Documents whose chunks and vectors follow from their texts, and stores to put them into."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rag.documents import (
    PROBE,
    Batch,
    Chunk,
    Document,
    EmbeddedDocument,
    IndexSpec,
    Query,
    Vectors,
)
from rag.storage.settings import StorageSettings
from rag.storage.store import LocalStore

DIMENSION = 8


class Model:
    """An embedder: other salts, other vectors."""

    def __init__(self, salt: str = "one", dimension: int = DIMENSION) -> None:
        self.salt = salt
        self.dimension = dimension
        self.embedded: list[str] = []

    @property
    def spec(self) -> IndexSpec:
        return IndexSpec(self.salt, self.dimension, tuple(self.vector(PROBE).tolist()))

    def vector(self, text: str) -> Vectors:
        digest = hashlib.sha256(f"{self.salt}{text}".encode()).digest()
        rows = np.random.default_rng(list(digest)).standard_normal(self.dimension)
        return (rows / np.linalg.norm(rows)).astype(np.float32)

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        return np.stack([self.vector(each) for each in texts])


ONE = Model()


def a_document(doc_id: str, text: str, model: Model = ONE, **metadata: Any) -> EmbeddedDocument:
    """A chunk for each line of the text."""
    chunks, at = [], 0
    for position, line in enumerate(text.split("\n")):
        hashed = hashlib.sha256(line.encode()).hexdigest()
        node = f"{doc_id}-{position}"
        chunks.append(Chunk(node, position, at, at + len(line), line, hashed))
        at += len(line) + 1
    vectors = np.stack([model.vector(each.text) for each in chunks])
    return EmbeddedDocument(Document(doc_id, text, metadata), tuple(chunks), vectors)


def a_batch(*documents: EmbeddedDocument, delete: Sequence[str] = ()) -> Batch:
    return Batch(documents, tuple(delete))


def open_store(directory: Path, model: Model = ONE, **settings: Any) -> LocalStore:
    settings = {"write_wait": 0.05, "poll": 0.02, **settings}
    return LocalStore.open(StorageSettings(directory, **settings), model.spec, model.embed)


def found(store: LocalStore, name: str, text: str, model: Model = ONE, top_k: int = 3) -> list[str]:
    """Texts of the chunks that are nearest to `text`."""
    query = Query(text, model.vector(text), top_k, mode="dense")
    return [hit.text for hit in next(iter(store.get(name).search([query])))]


def held(store: LocalStore, name: str) -> dict[str, str]:
    """All texts by document, as the file has them; the memory must have as many."""
    index = store.get(name)
    page = index.page(limit=10**6, offset=0)
    assert page.total == len(page.documents) == index.count()[0]
    return {each.doc_id: each.text for each in page.documents}


def index_files(directory: Path) -> list[str]:
    return sorted(each.name for each in (directory / "indexes").iterdir())


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> float:
    """Seconds until it held."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() < started + seconds, "it never held"
        time.sleep(0.002)
    return time.monotonic() - started
