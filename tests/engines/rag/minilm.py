"""Embeds with the model in the directory that it is given, by what it is told, in the image's
environment, and prints what came of it as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

REACHED: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        REACHED.append(f"{event} {arguments[1:]}")


sys.addaudithook(watch)

import numpy as np  # noqa: E402
from rag import embedding, reranking  # noqa: E402
from rag.documents import PROBE  # noqa: E402
from rag.embedding.settings import EmbeddingSettings  # noqa: E402
from rag.errors import EmbedderError  # noqa: E402
from rag.ingest.chunking import Chunker  # noqa: E402
from rag.ingest.settings import IngestSettings  # noqa: E402
from rag.ingest.tokens import Counter  # noqa: E402
from rag.protocols import Embedder  # noqa: E402
from rag.reranking import RerankerSettings  # noqa: E402

SENTENCES = [
    "A cat sits on the mat.",
    "A kitten is resting on a rug.",
    "The stock market fell by three percent.",
    "Share prices dropped sharply today.",
    *(f"Sentence {at} " + "and more of it " * (at % 30) for at in range(60)),
]


async def report(folder: Path, scratch: Path, backend: Any) -> dict[str, Any]:
    settings = EmbeddingSettings(model_id=str(folder), backend=backend, batch_tokens=512)
    embedder = await embedding.load(settings)
    together = await embedder.embed_documents(SENTENCES)
    alone = np.concatenate([await embedder.embed_documents([each]) for each in SENTENCES])
    found = {
        "dimension": embedder.dimension,
        "max_tokens": embedder.max_tokens,
        "shape": together.shape,
        "similar": (together[:4] @ together[:4].T).tolist(),
        "apart": float(abs(together - alone).max()),
        "query_apart": float(abs(await embedder.embed_query(SENTENCES[0]) - together[0]).max()),
        "lengths": np.linalg.norm(together, axis=1).tolist(),
        "fingerprint": (await embedder.embed_documents([PROBE]))[0].tolist(),
        "overtakes": await overtakes(embedder),
        "longest": longest(embedder),
        "reranked": await reranked(folder, scratch),
        "refused": await refused(scratch / "none"),
    }
    await embedder.close()
    found["reached"] = REACHED
    return found


async def overtakes(embedder: Embedder) -> dict[str, Any]:
    """Of 500 documents and a query that comes after them: who is done first, and the seconds."""
    order: list[str] = []
    begun = time.perf_counter()
    documents = asyncio.ensure_future(embedder.embed_documents(SENTENCES[4:54] * 10))
    documents.add_done_callback(lambda _: order.append("documents"))
    await asyncio.sleep(0)
    query = asyncio.ensure_future(embedder.embed_query("Who is first?"))
    query.add_done_callback(lambda _: order.append("query"))
    await query
    waited = time.perf_counter() - begun
    await documents
    return {"order": order, "query": waited, "documents": time.perf_counter() - begun}


def longest(embedder: Embedder) -> int:
    """Tokens of the longest chunk of a long text, with those that the model sets around it."""
    counter = Counter.of(embedder.directory, embedder.max_tokens)
    text = " ".join(SENTENCES)
    from rag.documents import Document

    cut = Chunker(IngestSettings(), counter).cut(Document("d", text, {"title": "Sentences"}))
    assert len(cut.chunks) > 5
    return max(counter.count(cut.embedded)) + 2


async def reranked(folder: Path, scratch: Path) -> dict[str, Any]:
    """By a cross-encoder of random weights: as a batch, and one by one."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(1)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
    )
    place = scratch / "crossing"
    BertForSequenceClassification(config).save_pretrained(place)
    AutoTokenizer.from_pretrained(folder).save_pretrained(place)
    reranker = await reranking.load(RerankerSettings(model=str(place), batch=4))
    assert reranker is not None
    together = await reranker.rerank("Where is the cat?", SENTENCES[:10])
    alone = [(await reranker.rerank("Where is the cat?", [each]))[0] for each in SENTENCES[:10]]
    await reranker.close()
    apart = max(abs(one - other) for one, other in zip(together, alone, strict=True))
    return {"scores": together, "apart": apart}


async def refused(folder: Path) -> str:
    try:
        await embedding.load(EmbeddingSettings(model_id=str(folder)))
    except EmbedderError as error:
        return error.detail
    return ""


if __name__ == "__main__":
    none = Path(sys.argv[2]) / "none"
    none.mkdir()
    (none / "config.json").write_text("{}")
    print(json.dumps(asyncio.run(report(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))))
