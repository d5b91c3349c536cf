"""Parts without models and files: what they answer is what a test put there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rag.chat.replies import Answer, Reply
from rag.documents import (
    Batch,
    Document,
    Hit,
    IndexSpec,
    Metadata,
    Mode,
    Page,
    Query,
    Stored,
    Vectors,
    id_of,
)
from rag.errors import IndexExistsError, NotFoundError, RagError, UnknownIndexError
from rag.ingest.results import DeleteResult, DocumentResult, NewDocument, Progress, UpdateResult
from rag.parts import Parts
from rag.protocols import Index
from rag.settings import Settings, read

SPEC = IndexSpec("fake", 2, (1.0, 0.0))


def settings(**environment: str) -> Settings:
    """As the process has them, but nothing of this machine's."""
    own = {"KAITO_API_KEYS_DIR": "/nowhere/keys", "LLM_INFERENCE_URL": "http://127.0.0.1:1"}
    return read({**own, **environment})


class FakeEmbedder:
    model, dimension = "fake", 2
    directory, max_tokens = None, 0

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return np.tile(np.array([1.0, 0.0], np.float32), (len(texts), 1))

    async def embed_query(self, text: str) -> Vectors:
        return np.array([1.0, 0.0], np.float32)

    async def close(self) -> None: ...


@dataclass
class FakeIndex:
    name: str
    documents: dict[str, Document] = field(default_factory=dict)
    may_search: threading.Event = field(default_factory=threading.Event)
    searching: int = 0
    spec = SPEC

    def apply(self, batch: Batch) -> None:
        for each in batch.put:
            self.documents[each.document.doc_id] = each.document
        for doc_id in batch.delete:
            self.documents.pop(doc_id, None)

    def stored(self, doc_ids: Collection[str]) -> Mapping[str, Stored]:
        return {}

    def vectors(self, doc_id: str) -> Mapping[str, Vectors]:
        return {}

    def page(self, *, limit: int, offset: int, metadata_filter: Metadata | None = None) -> Page:
        wanted = (metadata_filter or {}).items()
        found = [each for each in self.documents.values() if wanted <= dict(each.metadata).items()]
        return Page(tuple(found[offset : offset + limit]), len(found))

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        self.searching += 1
        assert self.may_search.wait(10)
        return [[] for _ in queries]

    def count(self) -> tuple[int, int]:
        return len(self.documents), len(self.documents)


class FakeStore:
    writable = True
    elsewhere = False

    def __init__(self) -> None:
        self.indexes: dict[str, FakeIndex] = {}
        self.snapshots: dict[str, dict[str, Document]] = {}
        self.error: Exception | None = None

    def wait_writable(self, seconds: float) -> bool:
        return True

    def names(self) -> list[str]:
        if self.error:
            raise self.error
        return sorted(self.indexes)

    def get(self, name: str) -> FakeIndex:
        if name not in self.indexes:
            raise UnknownIndexError(name)
        return self.indexes[name]

    def create(self, name: str, spec: IndexSpec) -> Index:
        return self.indexes.setdefault(name, FakeIndex(name))

    def drop(self, name: str) -> None:
        self.get(name)
        del self.indexes[name]

    def persist(self, name: str, path: str | None) -> Path:
        self.snapshots[path or name] = dict(self.get(name).documents)
        return Path("/data") / (path or name)

    def load(self, name: str, path: str | None, *, overwrite: bool) -> Path:
        if (path or name) not in self.snapshots:
            raise NotFoundError(f"Path does not exist: /data/{path or name}")
        if name in self.indexes and not overwrite:
            raise IndexExistsError(f"Index {name} already exists. Use a different name.")
        self.indexes[name] = FakeIndex(name, dict(self.snapshots[path or name]))
        return Path("/data") / (path or name)

    def close(self) -> None: ...


class FakeIngester:
    """A document whose text is a key of `fails` fails; the exception `broken` ends it all."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.fails: dict[str, RagError] = {}
        self.broken: tuple[int, Exception] | None = None
        self.closed = False

    async def put(
        self, name: str, documents: Sequence[NewDocument]
    ) -> AsyncGenerator[Progress, None]:
        try:
            for done, each in enumerate(documents):
                if self.broken and self.broken[0] == done:
                    raise self.broken[1]
                yield Progress(done + 1, len(documents), (self._put(name, each),))
        finally:
            self.closed = True

    def _put(self, name: str, given: NewDocument) -> DocumentResult:
        document = Document(id_of(given.text), given.text, dict(given.metadata or {}))
        if error := self.fails.get(given.text):
            return DocumentResult(document.doc_id, "failed", document, error)
        self._store.create(name, SPEC)
        known = self._store.indexes[name].documents
        status = "unchanged" if known.get(document.doc_id) == document else "created"
        known[document.doc_id] = document
        return DocumentResult(document.doc_id, status, document)  # type: ignore[arg-type]

    async def update(self, name: str, documents: Sequence[NewDocument]) -> UpdateResult:
        known = self._store.get(name).documents
        results = []
        for each in documents:
            document = Document(each.doc_id, each.text, dict(each.metadata or {}))
            status, error = "updated", self.fails.get(each.text)
            if error:
                status = "failed"
            elif each.doc_id not in known:
                status = "not_found"
            elif known[each.doc_id] == document:
                status = "unchanged"
            else:
                known[each.doc_id] = document
            results.append(DocumentResult(each.doc_id, status, document, error))  # type: ignore[arg-type]
        return UpdateResult(tuple(results))

    async def delete(self, name: str, doc_ids: Sequence[str]) -> DeleteResult:
        known = self._store.get(name).documents
        found = [each for each in dict.fromkeys(doc_ids) if known.pop(each, None)]
        missing = [each for each in dict.fromkeys(doc_ids) if each not in found]
        return DeleteResult(tuple(found), tuple(missing))


@dataclass
class Retrieved:
    hits: Sequence[Hit]
    timings: Mapping[str, float]


class FakeRetriever:
    """All documents of the index, in their order."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.asked: list[dict[str, Any]] = []

    async def check(self, name: str) -> None:
        self._store.get(name)

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
        asked = {"text": text, "top_k": top_k, "mode": mode, "rerank": rerank}
        self.asked.append({**asked, "filter": metadata_filter})
        page = self._store.get(name).page(limit=top_k, offset=0, metadata_filter=metadata_filter)
        await asyncio.to_thread(lambda: None)
        hits = [
            Hit(each.doc_id, f"node-{at}", 0, 0, len(each.text), each.text, each.metadata,
                1 / (1 + at), 0.5, None, "dense_only")
            for at, each in enumerate(page.documents)
        ]  # fmt: skip
        return Retrieved(hits, {"embed": 0.0015, "search": 0.0005})


class FakeChat:
    def __init__(self) -> None:
        self.reply: Reply | Exception = Answer(200, {"id": "1", "source_nodes": None})
        self.asked: list[Mapping[str, Any]] = []

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        self.asked.append(body)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def close(self) -> None: ...


class FakeGuardrails:
    async def start(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class World:
    """An app, its parts, and a client of it."""

    parts: Parts
    store: FakeStore
    ingester: FakeIngester
    retriever: FakeRetriever
    chat: FakeChat
    client: httpx.AsyncClient

    async def ask(self, line: str, body: Any = None, **more: Any) -> httpx.Response:
        """`line` as "POST /index"."""
        method, _, path = line.partition(" ")
        if body is not None:
            more["json"] = body
        return await self.client.request(method, path, **more)

    async def has(self, name: str, *texts: str, **metadata: Any) -> list[str]:
        """Put there; their ids."""
        documents = [{"text": each, "metadata": metadata} for each in texts]
        answer = await self.ask("POST /index", {"index_name": name, "documents": documents})
        assert answer.status_code == 200, answer.text
        return [each["doc_id"] for each in answer.json()]

    async def sample(self, name: str, **labels: str) -> float:
        """Of the metrics."""
        return self.parts.metrics.registry.get_sample_value(name, labels) or 0.0
