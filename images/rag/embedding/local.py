"""A model in this process, computed in threads of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rag.documents import Vectors
from rag.embedding import backend, vectors
from rag.embedding.lines import Lines
from rag.embedding.model import Model
from rag.embedding.settings import EmbeddingSettings

_LOG = logging.getLogger("rag")


class LocalEmbedder:
    """Whatever computes: ONNX Runtime, or torch."""

    def __init__(self, name: str, model: Model, folder: Path) -> None:
        self.model = name
        self.dimension = model.dimension
        self.max_tokens = model.max_tokens
        self.directory: Path | None = folder
        self._lines = Lines(model.encode, model.pace)

    @classmethod
    async def load(cls, settings: EmbeddingSettings) -> LocalEmbedder:
        """Raises ModelError where the model cannot be had, or is none."""
        folder, model = await asyncio.to_thread(backend.opened, settings)
        name = settings.model_id or settings.image or folder.name
        _LOG.info(
            "embedding with %s by %s: %d dimensions, %d tokens",
            *(name, model.runtime, model.dimension, model.max_tokens),
        )
        if settings.batch_tokens is not None:
            model = replace(model, pace=replace(model.pace, batch_tokens=settings.batch_tokens))
        return cls(name, model, folder)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return vectors.none(self.dimension)
        return await asyncio.wrap_future(self._lines.documents(texts))

    async def embed_query(self, text: str) -> Vectors:
        return await asyncio.wrap_future(self._lines.query(text))

    async def close(self) -> None:
        await asyncio.to_thread(self._lines.close)
