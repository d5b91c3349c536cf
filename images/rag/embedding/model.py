"""A model that was opened in this process, whatever computes it."""

from __future__ import annotations

from dataclasses import dataclass

from rag.embedding.lines import Encode


@dataclass(frozen=True, slots=True)
class Model:
    """It has embedded something: what cannot was refused where it was opened."""

    encode: Encode
    """For one thread at a time. Raises EmbedderError."""
    dimension: int
    max_tokens: int
    """What it reads of a text; the rest of it is not in the vector. 0: no limit."""
    runtime: str
    """What computes, and on what; for people."""
