"""Documents in groups that are embedded and stored at once, with the vectors that can be kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from rag.documents import Batch, EmbeddedDocument, Vectors
from rag.errors import RagError
from rag.ingest.chunking import Cut
from rag.ingest.results import DocumentResult, Status
from rag.ingest.settings import IngestSettings
from rag.protocols import Index

Fate: TypeAlias = tuple[Status, RagError | None]
"""Why a document is not what it was to become: failed, or gone meanwhile."""
Fates: TypeAlias = Mapping[str, Fate]
"""By `doc_id`."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A document of a request: what is to be done with it, or what came of it already."""

    result: DocumentResult
    cut: Cut | None = None
    """None where nothing is to be done."""


@dataclass(slots=True)
class Group:
    """In the request's order."""

    judged: list[Judged] = field(default_factory=list)
    chunks: int = 0

    @property
    def due(self) -> list[Cut]:
        return [each.cut for each in self.judged if each.cut is not None]

    @property
    def changed(self) -> list[str]:
        """Ids of those that are in the index otherwise."""
        return [each.result.doc_id for each in self.judged if each.result.status == "updated"]

    def failed(self, error: RagError) -> Fates:
        """All that was to be done."""
        return {cut.document.doc_id: ("failed", error) for cut in self.due}

    def results(self, fates: Fates, lost: MutableMapping[str, Fate]) -> tuple[DocumentResult, ...]:
        """`fates`: of what was to be done, and was not. `lost`: those of the request so far; a
        document that is unchanged since it came before is lost with that one."""
        return tuple(_result(each, fates, lost) for each in self.judged)


def _result(judged: Judged, fates: Fates, lost: MutableMapping[str, Fate]) -> DocumentResult:
    result = judged.result
    fate: Fate | None = None
    if judged.cut is not None:
        fate = fates.get(result.doc_id)
        lost.pop(result.doc_id, None)
        if fate is not None:
            lost[result.doc_id] = fate
    elif result.status == "unchanged":
        fate = lost.get(result.doc_id)
    return result if fate is None else replace(result, status=fate[0], error=fate[1])


def grouped(judged: Iterable[Judged], settings: IngestSettings) -> Iterator[Group]:
    """No document is stored twice in a group: a batch has each once."""
    group, ids = Group(), set[str]()
    for each in judged:
        full = (
            group.chunks >= settings.group_chunks or len(group.judged) >= settings.group_documents
        )
        twice = each.cut is not None and each.result.doc_id in ids
        if group.judged and (full or twice):
            yield group
            group, ids = Group(), set()
        group.judged.append(each)
        if each.cut is not None:
            ids.add(each.result.doc_id)
            group.chunks += len(each.cut.chunks)
    if group.judged:
        yield group


@dataclass(frozen=True, slots=True)
class Lacking:
    """What of a group must be embedded: no text twice, and none whose vector is kept."""

    kept: dict[str, Vectors]
    """By `Chunk.embedded_hash`."""
    hashes: tuple[str, ...]
    texts: tuple[str, ...]

    def batch(self, cuts: Sequence[Cut], vectors: Mapping[str, Vectors]) -> Batch:
        """Of these of the group; `vectors` are by hash, too."""
        by_hash = {**self.kept, **vectors}
        return Batch(
            put=tuple(
                EmbeddedDocument(
                    cut.document,
                    cut.chunks,
                    np.stack([by_hash[chunk.embedded_hash] for chunk in cut.chunks]),
                )
                for cut in cuts
            )
        )


def lacking(cuts: Sequence[Cut], index: Index | None, known: Iterable[str]) -> Lacking:
    """`known`: those of the documents that are in the index, and may have vectors to keep."""
    kept: dict[str, Vectors] = {}
    if index is not None:
        for doc_id in known:
            kept.update(index.vectors(doc_id))
    wanted: dict[str, str] = {}
    for cut in cuts:
        for chunk, text in zip(cut.chunks, cut.embedded, strict=True):
            if chunk.embedded_hash not in kept:
                wanted.setdefault(chunk.embedded_hash, text)
    return Lacking(kept, tuple(wanted), tuple(wanted.values()))
