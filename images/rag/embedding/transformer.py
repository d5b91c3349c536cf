"""sentence-transformers on torch: every model, and GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving import machine

from rag.documents import Vectors
from rag.embedding import vectors
from rag.embedding.lines import Encode, Pace
from rag.embedding.model import Model
from rag.errors import EmbedderError, ModelError

_PACE = Pace(threads=1, queries=32, batch_tokens=2048)
"""It uses all that it has for one call: cores, or a GPU, which needs batches."""


def opened(folder: Path) -> Model:
    """Raises ModelError."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(machine.cpus())
    try:
        model = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False)
        tried = model.encode(["once"], show_progress_bar=False)
    except Exception as error:  # each library that has a part in it has errors of its own
        raise ModelError(f"{folder} is no embedding model that can be loaded: {error}") from error
    dimension = int(tried.shape[1])
    limit = int(model.max_seq_length or 0)
    encode = _encoder(model, dimension)
    return Model(encode, _PACE, dimension, limit, f"torch, {model.device}")


def _encoder(model: Any, dimension: int) -> Encode:
    def encode(texts: Sequence[str], queries: bool) -> Vectors:
        call = model.encode_query if queries else model.encode_document
        try:
            found = call(list(texts), batch_size=len(texts), show_progress_bar=False)
        except (RuntimeError, ValueError, IndexError) as error:  # of memory, too
            raise EmbedderError(f"The embedding model failed: {error}") from error
        return vectors.unit(found, len(texts), dimension)

    return encode
