"""Documents as they travel: upstream's fields, and a few more in the answers. What only one route
takes or gives stands beside it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from rag.documents import Document as Known
from rag.ingest.results import Status

EXAMPLE_ID = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
EXAMPLE: dict[str, Any] = {
    "text": "RAG grounds a model's answers.",
    "metadata": {"author": "Ada"},
}


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    """What JSON cannot say (1e999 is read as infinity) is not stored either."""
    json.dumps(value, allow_nan=False)
    return value


def _some(given: Any) -> Any:
    return {} if given is None else given


Filter = Annotated[dict[str, Any], AfterValidator(_finite)]


class Document(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    doc_id: str = Field("", description="Made by the server; to be sent where one is updated.")
    text: str
    metadata: Annotated[
        dict[str, Any], BeforeValidator(_some, json_schema_input_type=dict[str, Any] | None)
    ] = Field(default_factory=dict)
    hash_value: str | None = None
    is_truncated: bool = False


class IndexedDocument(Document):
    status: Status = "created"
    error: str | None = Field(None, description="Why it failed.")


class Message(BaseModel):
    message: str


class Problem(BaseModel):
    """Of every error but those of 422 that name a field."""

    detail: str


def shown(known: Known, most: int | None = None) -> Document:
    """As a listing has it."""
    cut = most is not None and len(known.text) > most
    return Document.model_construct(
        doc_id=known.doc_id,
        text=known.text[:most] if cut else known.text,
        metadata=dict(known.metadata),
        hash_value=known.content_hash,
        is_truncated=cut,
    )
