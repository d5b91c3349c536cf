"""Groups of any documents, and which of their texts are embedded."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rag.documents import Document
from rag.errors import EmbedderError
from rag.ingest.chunking import Chunker
from rag.ingest.groups import Fate, Judged, grouped, lacking
from rag.ingest.results import DocumentResult
from rag.ingest.settings import ChunkOptions, IngestSettings

from tests.unit.rag.ingest.tokenizers_made import of_words
from tests.unit.rag.storage.samples import ONE

SETTINGS = IngestSettings(ChunkOptions(32, 0), group_chunks=5, group_documents=4)
CHUNKER = Chunker(SETTINGS, of_words())


def judged(doc_id: str, words: int) -> Judged:
    """`words` 0: nothing is to be done."""
    document = Document(doc_id, " ".join(f"word{at}" for at in range(words)))
    status = "created" if words else "unchanged"
    cut = CHUNKER.cut(document) if words else None
    return Judged(DocumentResult(doc_id, status, document), cut)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 200)), max_size=40))
def test_groups_are_bounded_and_in_order(given: list[tuple[str, int]]) -> None:
    all_of_them = [judged(*each) for each in given]
    groups = list(grouped(all_of_them, SETTINGS))
    assert [each for group in groups for each in group.judged] == all_of_them
    for group in groups:
        ids = [cut.document.doc_id for cut in group.due]
        assert len(set(ids)) == len(ids), "a batch has each once"
        assert 1 <= len(group.judged) <= 4
        assert sum(len(cut.chunks) for cut in group.due[:-1]) < 5
        assert group.chunks == sum(len(cut.chunks) for cut in group.due)


def test_results_of_what_was_lost() -> None:
    (group,) = grouped([judged("a", 3), judged("a", 0), judged("b", 0)], SETTINGS)
    lost: dict[str, Fate] = {}

    def statuses(fates: dict[str, Fate]) -> list[str]:
        return [each.status for each in group.results(fates, lost)]

    error = EmbedderError("no")
    assert group.failed(error) == {"a": ("failed", error)}
    assert statuses({"a": ("failed", error)}) == ["failed", "failed", "unchanged"]
    assert lost == {"a": ("failed", error)}
    assert statuses({"a": ("not_found", None)}) == ["not_found", "not_found", "unchanged"]
    assert statuses({}) == ["created", "unchanged", "unchanged"]
    assert lost == {}


def test_vectors_find_their_chunks() -> None:
    cuts = [
        CHUNKER.cut(Document(name, text)) for name, text in (("a", "x"), ("b", "y"), ("c", "x"))
    ]
    missing = lacking(cuts, None, ())
    assert missing.texts == ("x", "y")
    rows = [ONE.vector("x"), ONE.vector("y")]
    batch = missing.batch(cuts, dict(zip(missing.hashes, rows, strict=True)))
    assert [each.document.doc_id for each in batch.put] == ["a", "b", "c"]
    for each, text in zip(batch.put, "xyx", strict=True):
        np.testing.assert_array_equal(each.vectors, [ONE.vector(text)])
