"""Which points are meant."""

from __future__ import annotations

from collections.abc import Sequence

from qdrant_client import models

from rag.documents import Metadata
from rag.qdrant import fields


def passing(wanted: Metadata | None, kind: str) -> models.Filter:
    """Points of a kind whose metadata a filter lets pass."""
    tags = [fields.tag(name, value) for name, value in (wanted or {}).items()]
    return models.Filter(must=[_equal("kind", kind), *(_equal("tags", tag) for tag in tags)])


def of_documents(doc_ids: Sequence[str]) -> models.Filter:
    """All points of some documents."""
    return models.Filter(must=[_of(doc_ids)])


def chunks_of(doc_ids: Sequence[str], *, but_version: str = "") -> models.Filter:
    """Their chunks, without those of a version."""
    must_not = [_equal("version", but_version)] if but_version else None
    return models.Filter(must=[_of(doc_ids), _equal("kind", fields.CHUNK)], must_not=must_not)


def _of(doc_ids: Sequence[str]) -> models.FieldCondition:
    return models.FieldCondition(key="doc_id", match=models.MatchAny(any=list(doc_ids)))


def _equal(key: str, value: str) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))
