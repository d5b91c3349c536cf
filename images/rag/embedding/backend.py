"""What computes a local model's vectors: ONNX Runtime where it gives the same, else torch."""

from __future__ import annotations

import logging
from pathlib import Path

from rag.embedding import files
from rag.embedding.model import Model
from rag.embedding.recipe import UnsuitedError
from rag.embedding.settings import EmbeddingSettings
from rag.errors import ModelError

_REMEDY = "set RAG_EMBEDDING_BACKEND to auto or torch, or take a model that has it"
_LOG = logging.getLogger("rag")


def opened(settings: EmbeddingSettings, devices: Path = Path("/dev")) -> tuple[Path, Model]:
    """The model, and its directory. Raises ModelError. What is not taken is not imported either,
    and of Hugging Face not downloaded."""
    if settings.backend == "onnx" or (settings.backend == "auto" and not _has_gpu(devices)):
        from rag.embedding import onnx

        folder = files.locate(settings, onnx=True)
        try:
            return folder, onnx.opened(folder)
        except UnsuitedError as error:
            if settings.backend == "onnx":
                raise ModelError(
                    f"{folder} is no embedding model for ONNX Runtime: {error}; {_REMEDY}"
                ) from error
            _LOG.info("embedding on torch, and not by ONNX Runtime: %s", error)
    from rag.embedding import transformer

    folder = files.locate(settings)
    return folder, transformer.opened(folder)


def _has_gpu(devices: Path) -> bool:
    """Whether torch would compute on one; it takes seconds to ask torch itself."""
    return any(devices.glob("nvidia[0-9]*"))
