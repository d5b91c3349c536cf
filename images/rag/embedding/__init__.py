"""Text to vectors: by a model in this process, or by a service.

settings     what embeds
files        where a local model's files come from: the node, an image, Hugging Face
local        a model in this process, in a thread of its own
lines        who waits for that thread: queries before documents
priority     that of the threads that compute: below the rest
backend      what computes: ONNX Runtime where it gives the same vectors, else torch
model        what either of them has opened
onnx         ONNX Runtime, on CPUs; recipe, wordpieces and pooling tell it what to compute
transformer  sentence-transformers on torch
fingerprint  what an embedder is known by
remote       an OpenAI-compatible service, or one of KAITO's own form
vectors      what every embedder's answer is checked for
"""

from __future__ import annotations

from rag.embedding.settings import EmbeddingSettings
from rag.protocols import Embedder

__all__ = ["load"]


async def load(settings: EmbeddingSettings) -> Embedder:
    """The embedder, once it has embedded something: its dimension is known then. Raises
    EmbedderError where it cannot be had. What does not embed is not imported."""
    if settings.source == "remote":
        from rag.embedding.remote import RemoteEmbedder

        return await RemoteEmbedder.connect(settings)
    from rag.embedding.local import LocalEmbedder

    return await LocalEmbedder.load(settings)
