"""What is indexed and what is found: frozen values, passed between all parts of the service."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Metadata = Mapping[str, Any]
"""JSON values by name."""
Vectors = npt.NDArray[np.float32]
"""Rows of unit length; (n, dimension), or (dimension,) for one."""
Mode = Literal["hybrid", "dense", "sparse"]
Source = Literal["both", "dense_only", "sparse_only"]


@dataclass(frozen=True, slots=True)
class Document:
    """A text with what is known of it."""

    doc_id: str
    text: str
    metadata: Metadata = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """SHA-256 of text and metadata: equal where nothing has to be done again."""
        known = json.dumps(self.metadata, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(f"{len(self.text)}\n{self.text}{known}".encode()).hexdigest()


def id_of(text: str) -> str:
    """KAITO's `doc_id` of a new document: the SHA-256 of its text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document that is embedded and found as a whole."""

    node_id: str
    """Stable: from the document's id, the position and the text."""
    position: int
    """The how many-th of its document, from 0."""
    start: int
    """Where it begins in the document's text, in characters; -1 where the splitter cannot say."""
    end: int
    """One past its last character; -1 where `start` is."""
    text: str
    """As it is shown, to people and to the model."""
    embedded_hash: str
    """SHA-256 of what was embedded (the text, and metadata before it); equal where the vector
    can be kept."""


@dataclass(frozen=True, slots=True)
class EmbeddedDocument:
    """A document in chunks, each with its vector."""

    document: Document
    chunks: tuple[Chunk, ...]
    vectors: Vectors
    """(len(chunks), dimension), unit length."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What changes at once: a reader sees all of it or nothing, on disk as in memory. What is
    put replaces what has the same `doc_id`."""

    put: tuple[EmbeddedDocument, ...] = ()
    delete: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a document without reading its text."""

    doc_id: str
    content_hash: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Page:
    """Documents in the order in which they were first put."""

    documents: tuple[Document, ...]
    total: int
    """Of all that match, not of this page."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for."""

    text: str
    vector: Vectors | None
    """(dimension,), unit length; None only in mode `sparse`."""
    top_k: int
    mode: Mode = "hybrid"
    metadata_filter: Metadata | None = None
    """All of these must be equal, as JSON values of the same type; applied before the ranks."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found, best first. Higher is better in every score."""

    doc_id: str
    node_id: str
    position: int
    start: int
    end: int
    text: str
    metadata: Metadata
    score: float
    """By mode: `dense` the cosine; `sparse` BM25; `hybrid` the reciprocal ranks, scaled so that
    1 is the first of both lists (`rag.ranking`)."""
    dense_score: float | None
    """The cosine of chunk and query, -1 to 1, of every hit; None in mode `sparse`."""
    sparse_score: float | None
    """BM25, 0 or more; None where that list does not have the chunk."""
    source: Source


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What an index was made with, and must be used with."""

    model: str
    """The embedder's name, for people."""
    dimension: int
    fingerprint: tuple[float, ...]
    """The vector of `PROBE`: whoever embeds it elsewhere is another model, whatever its name."""


PROBE = "The quick brown fox jumps over the lazy dog, and 42 is the answer."
