"""What an embedder is known by."""

from __future__ import annotations

from rag.documents import PROBE, IndexSpec
from rag.protocols import Embedder


async def spec_of(embedder: Embedder) -> IndexSpec:
    """What an index that is made now is made with. Raises EmbedderError."""
    vector = (await embedder.embed_documents([PROBE]))[0]
    return IndexSpec(embedder.model, embedder.dimension, tuple(map(float, vector)))
