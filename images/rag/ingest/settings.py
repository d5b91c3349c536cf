"""How documents are split, and how large a request may be."""

from __future__ import annotations

from dataclasses import dataclass, field

CHUNK_TOKENS = 1024
CHUNK_OVERLAP = 200
"""LlamaIndex's, and so upstream's."""


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    chunk_size: int = 0
    """Tokens of what is embedded: the chunk, and the title and headings before it; never more than
    the model reads. 0: llama-index's."""
    chunk_overlap: int = -1
    """Tokens at most that a chunk shares with the one before, up to half of it; -1: llama-index's,
    or a fifth of a smaller chunk."""


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """Limits are for one request; none of them is upstream's, which has no limits."""

    chunks: ChunkOptions = field(default_factory=ChunkOptions)
    code_max_bytes: int = 1500
    """llama-index's, which counts characters."""
    max_documents: int = 10_000
    max_text_bytes: int = 16 << 20
    max_metadata_bytes: int = 64 << 10
    group_chunks: int = 256
    """So many are embedded and stored at once, which is how often progress is told."""
    group_documents: int = 1_000
    groups_ahead: int = 2
    """Embedded or waiting for it, while one is stored and one is split."""
    write_wait: float = 60.0
    """Seconds to wait for the process that holds the files."""
