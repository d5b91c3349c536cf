"""What a request may hold. A document that may not go in fails alone; the others go on."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rag.documents import Document, id_of
from rag.errors import InvalidError, RagError
from rag.ingest.results import NewDocument
from rag.ingest.settings import IngestSettings

BODY = ("body", "documents")
"""Where documents are in a request, for errors that name a field."""


def check_count(documents: Sequence[NewDocument], settings: IngestSettings) -> None:
    """Raises InvalidError where there are too many at once."""
    if len(documents) > settings.max_documents:
        raise InvalidError(
            f"{len(documents)} documents are more than the {settings.max_documents} that one"
            " request may hold; send them in several",
            *BODY,
        )


def checked(
    given: NewDocument, position: int, settings: IngestSettings, *, update: bool
) -> tuple[Document, RagError | None]:
    """The document as it will be stored, or as far as it can be told, with what is wrong."""
    error = _fault_of_text(given.text, position, settings)
    if error is None:
        error = _fault_of_metadata(given, position, settings)
    doc_id = given.doc_id if update else ""
    if not doc_id and not update and _is_encodable(given.text):
        doc_id = id_of(given.text)
    return Document(doc_id, given.text, dict(given.metadata or {})), error


def _fault_of_text(text: str, position: int, settings: IngestSettings) -> RagError | None:
    at = (*BODY, position, "text")
    if not text.strip():
        return InvalidError("text must not be empty", *at)
    if not _is_encodable(text):
        return InvalidError("text holds half of a surrogate pair, which is no character", *at)
    size = len(text) if text.isascii() else len(text.encode())
    if size > settings.max_text_bytes:
        return InvalidError(
            f"text of {size} bytes is longer than {settings.max_text_bytes}; send it in parts", *at
        )
    return None


def _fault_of_metadata(
    given: NewDocument, position: int, settings: IngestSettings
) -> RagError | None:
    at = (*BODY, position, "metadata")
    if not given.metadata:
        return None
    try:
        text = json.dumps(dict(given.metadata), ensure_ascii=False, allow_nan=False, sort_keys=True)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        # UnicodeEncodeError is a ValueError, too: half of a surrogate pair.
        return InvalidError("metadata must be JSON values: no NaN, infinity or bytes", *at)
    if size > settings.max_metadata_bytes:
        return InvalidError(
            f"metadata of {size} bytes is longer than {settings.max_metadata_bytes}", *at
        )
    return None


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
