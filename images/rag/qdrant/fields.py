"""Names in a collection, which are on disk in the server and do not change."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from rag import filters

DENSE, SPARSE = "dense", "sparse"
CHUNK, DOCUMENT = "chunk", "document"
_IDS = uuid.UUID("4f9f6c1e-6a53-5c0c-9d3e-3f1a2f0c6b11")


def chunk_id(doc_id: str, position: int) -> str:
    return _id(f"{CHUNK}\0{position}\0{doc_id}")


def document_id(doc_id: str) -> str:
    return _id(f"{DOCUMENT}\0{doc_id}")


def tag(name: str, value: Any) -> str:
    """Of a name in the metadata and its value: the server has other equalities, and fewer kinds
    of numbers."""
    known = json.dumps([name, filters.canonical(value)])
    return hashlib.blake2b(known.encode(), digest_size=16).hexdigest()


def _id(name: str) -> str:
    """Qdrant takes numbers and UUIDs."""
    return str(uuid.uuid5(_IDS, name))
