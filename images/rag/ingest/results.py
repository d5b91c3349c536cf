"""What goes into an index, and what came of it, document by document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rag.documents import Document
from rag.errors import RagError

Status = Literal["created", "updated", "unchanged", "failed", "not_found", "deleted"]


@dataclass(frozen=True, slots=True)
class NewDocument:
    """As a request has it."""

    text: str
    metadata: Mapping[str, Any] | None = field(default_factory=dict)
    doc_id: str = ""
    """Which one is updated; a put makes it from the text, as upstream does."""


@dataclass(frozen=True, slots=True)
class DocumentResult:
    """What became of one document of a request."""

    doc_id: str
    status: Status
    document: Document
    """As it is in the index, or would be."""
    error: RagError | None = None
    """Why it failed: with its status, and where the document is at fault the field."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Told each time that documents are durable; `results` are those since the last one, in the
    request's order."""

    done: int
    total: int
    results: tuple[DocumentResult, ...]


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """One a document of the request, in its order."""

    results: tuple[DocumentResult, ...]

    def of(self, status: Status) -> tuple[DocumentResult, ...]:
        return tuple(each for each in self.results if each.status == status)


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """Each id once, in the request's order."""

    deleted: tuple[str, ...]
    not_found: tuple[str, ...]
