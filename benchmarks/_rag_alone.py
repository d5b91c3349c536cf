"""The embedder alone, and llama-index's plain defaults, in the retrieval image's environment.

Reads JSON lines from standard input and answers each with one: {"embed": [texts]} with the seconds
it took, {"plain": {"documents": [...], "queries": [...]}} with seconds and ranks, {"build": {...}}
with an index on disk that needs no embedder. Started by benchmarks/retrieval.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def embed(model: str, texts: Sequence[str], save: str) -> dict[str, Any]:
    """With the service's own embedder, and nothing around it."""
    from rag.embedding import load
    from rag.embedding.settings import EmbeddingSettings

    async def work() -> dict[str, Any]:
        embedder = _KEPT.get("embedder")
        if embedder is None:
            settings = EmbeddingSettings(model_id=model, backend=_backend())
            embedder = _KEPT["embedder"] = await load(settings)
            await embedder.embed_documents(texts[:64])
        begun = time.perf_counter()
        vectors = await embedder.embed_documents(texts)
        seconds = time.perf_counter() - begun
        if save:
            np.save(save, vectors)
        return {"seconds": seconds}

    return _LOOP.run_until_complete(work())


def plain(model: str, documents: Sequence[str], queries: Sequence[str]) -> dict[str, Any]:
    """As llama-index's quick start has it: documents in, a retriever out, nothing chosen but the
    embedder."""
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from sentence_transformers import SentenceTransformer

    inner = SentenceTransformer(model)

    class Local(BaseEmbedding):  # type: ignore[misc]
        def _get_text_embedding(self, text: str) -> list[float]:
            return self._get_text_embeddings([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return [list(map(float, each)) for each in inner.encode(texts)]

        def _get_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

    texts = [Document(text=text, doc_id=str(at)) for at, text in enumerate(documents)]
    begun = time.perf_counter()
    index = VectorStoreIndex.from_documents(texts, embed_model=Local())
    ingested = time.perf_counter() - begun
    retriever = index.as_retriever(similarity_top_k=10)
    ranks, seconds = [], []
    for query in queries:
        begun = time.perf_counter()
        found = retriever.retrieve(query)
        seconds.append(time.perf_counter() - begun)
        ranks.append([int(each.node.ref_doc_id) for each in found])
    return {"ingest_seconds": ingested, "seconds": seconds, "ranks": ranks}


def build(directory: str, texts: Sequence[str], chunks: int, fingerprint: str) -> dict[str, Any]:
    """An index of so many chunks, as ingest would have left it: real text, vectors of chance."""
    from rag.documents import Batch, Chunk, Document, EmbeddedDocument, IndexSpec, id_of
    from rag.storage.settings import StorageSettings
    from rag.storage.store import LocalStore

    spec = IndexSpec("bench", 384, tuple(np.load(fingerprint).tolist()))
    store = LocalStore.open(StorageSettings(directory=Path(directory)), spec, _no_embedder)
    index = store.create("bench", spec)
    random = np.random.default_rng(1913)

    def documents() -> Iterator[EmbeddedDocument]:
        for at in range(chunks):
            text = f"{at} {texts[at % len(texts)]}"
            vector = random.standard_normal((1, 384)).astype(np.float32)
            vector /= np.linalg.norm(vector)
            chunk = Chunk(f"{at:032x}", 0, 0, len(text), text, id_of(text))
            yield EmbeddedDocument(Document(id_of(text), text), (chunk,), vector)

    batch = []
    for each in documents():
        batch.append(each)
        if len(batch) == 2000:
            index.apply(Batch(put=tuple(batch)))
            batch.clear()
    index.apply(Batch(put=tuple(batch)))
    store.close()
    return {"chunks": chunks}


def _backend() -> Any:
    """As the service is told it."""
    return os.environ["RAG_EMBEDDING_BACKEND"]


def _no_embedder(texts: Sequence[str]) -> Any:
    raise AssertionError("nothing is to be embedded here")


_KEPT: dict[str, Any] = {}
_LOOP = asyncio.new_event_loop()
_WORK: dict[str, Callable[..., dict[str, Any]]] = {"embed": embed, "plain": plain, "build": build}

if __name__ == "__main__":
    for line in sys.stdin:
        ((name, arguments),) = json.loads(line).items()
        print(json.dumps(_WORK[name](**arguments)), flush=True)
