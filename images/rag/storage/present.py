"""What this process embeds and analyzes with, and what follows where a file was made otherwise."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rag.documents import Chunk, Document, EmbeddedDocument, IndexSpec, Vectors
from rag.memory.analysis import Analyzer
from rag.memory.index import MemoryIndex

logger = logging.getLogger(__name__)

SAME_COSINE = 0.999
"""Of one text's vectors: the same model on another machine differs less, another model more."""
_AT_ONCE = 512
"""Texts in one call of the embedder."""
_TOLD_EVERY = 10.0
"""Seconds between two lines of progress."""


def same_model(one: IndexSpec, other: IndexSpec) -> bool:
    """By what they make of the same text; names tell nothing."""
    if one.dimension != other.dimension or len(one.fingerprint) != len(other.fingerprint):
        return False
    left, right = np.asarray(one.fingerprint), np.asarray(other.fingerprint)
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return lengths > 0 and float(left @ right) / lengths >= SAME_COSINE


def text_alone(document: Document, chunk: Chunk) -> str:
    return chunk.text


@dataclass(frozen=True, slots=True)
class Present:
    spec: IndexSpec
    analyzer: Analyzer
    embed: Callable[[Sequence[str]], Vectors]
    """Blocking; raises EmbedderError."""
    embedded_text: Callable[[Document, Chunk], str] = text_alone
    """What of a chunk is embedded, as its `embedded_hash` was taken of."""

    def memory(self) -> MemoryIndex:
        return MemoryIndex(self.spec.dimension, self.analyzer)

    def words(self, document: EmbeddedDocument) -> list[bytes]:
        return [self.analyzer.pack(chunk.text) for chunk in document.chunks]

    def embed_anew(
        self, name: str, documents: Sequence[tuple[Document, Sequence[Chunk]]]
    ) -> list[Vectors]:
        """For each document its vectors; told in the log as it takes long."""
        texts = [
            self.embedded_text(document, chunk)
            for document, chunks in documents
            for chunk in chunks
        ]
        vectors = self._embed(name, texts)
        ends = np.cumsum([len(chunks) for _, chunks in documents])
        return np.split(vectors, ends[:-1]) if documents else []

    def _embed(self, name: str, texts: Sequence[str]) -> Vectors:
        found = np.empty((len(texts), self.spec.dimension), dtype=np.float32)
        told = time.monotonic()
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            found[start : start + len(part)] = self.embed(part)
            if time.monotonic() - told > _TOLD_EVERY:
                told = time.monotonic()
                done = start + len(part)
                logger.info("Index %s: embedded %d of %d chunks anew", name, done, len(texts))
        return found
