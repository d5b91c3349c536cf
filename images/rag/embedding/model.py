"""A model that was opened in this process, whatever computes it."""

from __future__ import annotations

from dataclasses import dataclass

from rag.embedding.lines import Encode, Pace


@dataclass(frozen=True, slots=True)
class Model:
    """It has embedded something: what cannot was refused where it was opened."""

    encode: Encode
    """For so many threads at a time as the pace has. Raises EmbedderError."""
    pace: Pace
    dimension: int
    max_tokens: int
    """What it reads of a text; the rest of it is not in the vector. 0: no limit."""
    runtime: str
    """What computes, and on what; for people."""
