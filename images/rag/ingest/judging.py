"""What is to be done with each document of a request, and what came of it already."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TypeAlias

from rag.documents import Document, Stored, id_of
from rag.errors import InvalidError, RagError
from rag.ingest import checking
from rag.ingest.caller import Caller, GoneError
from rag.ingest.chunking import Chunker
from rag.ingest.groups import Judged
from rag.ingest.results import DocumentResult, NewDocument, Status
from rag.ingest.settings import IngestSettings
from rag.protocols import Index

_Checked: TypeAlias = tuple[Document, RagError | None]
_LOG = logging.getLogger("rag")


class Judge:
    """Of the documents of all requests."""

    def __init__(self, settings: IngestSettings, chunker: Chunker) -> None:
        self._settings = settings
        self._chunker = chunker

    def judged(
        self,
        documents: Sequence[NewDocument],
        index: Index | None,
        *,
        caller: Caller,
        update: bool,
    ) -> Iterator[Judged]:
        """In their order, and lazily from the second step on: cutting is a stage of its own, and
        raises GoneError. With `update`, what is not in the index is not put into it."""
        checked = [
            checking.checked(each, at, self._settings, update=update)
            for at, each in enumerate(documents)
        ]
        stored = {} if index is None else dict(index.stored(_ids(checked)))
        if index is not None and not update:
            checked = _beside_others(checked, stored, index)
        return self._each(checked, stored, caller, update=update)

    def _each(
        self,
        checked: Sequence[_Checked],
        stored: Mapping[str, Stored],
        caller: Caller,
        *,
        update: bool,
    ) -> Iterator[Judged]:
        there = {doc_id: each.content_hash for doc_id, each in stored.items()}
        for at, (document, error) in enumerate(checked):
            caller.check()
            doc_id = document.doc_id
            if error is not None:
                yield Judged(DocumentResult(doc_id, "failed", document, error))
            elif update and doc_id not in there:
                yield Judged(DocumentResult(doc_id, "not_found", document))
            elif there.get(doc_id) == document.content_hash:
                yield Judged(DocumentResult(doc_id, "unchanged", document))
            else:
                status: Status = "updated" if doc_id in there else "created"
                judged = self._cut(document, at, status, caller)
                if judged.cut is not None:
                    there[doc_id] = document.content_hash
                yield judged

    def _cut(self, document: Document, position: int, status: Status, caller: Caller) -> Judged:
        fault: RagError
        try:
            cut = self._chunker.cut(document, caller)
        except GoneError:
            raise
        except InvalidError as error:
            fault = InvalidError(error.detail, *checking.BODY, position, *error.field)
            return Judged(DocumentResult(document.doc_id, "failed", document, fault))
        except Exception:  # noqa: BLE001  # ours or a grammar's: the other documents have no part
            _LOG.exception("document %r cannot be cut into chunks", document.doc_id)
            fault = RagError("This text cannot be cut into chunks; the service's log says why.")
            return Judged(DocumentResult(document.doc_id, "failed", document, fault))
        return Judged(DocumentResult(document.doc_id, status, document), cut)


def _ids(checked: Sequence[_Checked]) -> set[str]:
    return {document.doc_id for document, error in checked if error is None}


def _beside_others(
    checked: list[_Checked], stored: MutableMapping[str, Stored], index: Index
) -> list[_Checked]:
    """Where an update has given a document another text, the text that its id was made from is
    another document: that id with -2, or the next number that is free or has this text. `stored`
    gets what is there of these."""
    for number in count(2):
        changed = {
            document.doc_id
            for document, error in checked
            if error is None
            and document.doc_id in stored
            and stored[document.doc_id].content_hash != document.content_hash
        }
        texts = index.texts(changed) if changed else {}
        taken = {
            document.doc_id: f"{id_of(document.text)}-{number}"
            for document, _ in checked
            if texts.get(document.doc_id, document.text) != document.text
        }
        if not taken:
            break
        checked = [
            (replace(document, doc_id=taken.get(document.doc_id, document.doc_id)), error)
            for document, error in checked
        ]
        stored.update(index.stored(taken.values()))
    return checked
