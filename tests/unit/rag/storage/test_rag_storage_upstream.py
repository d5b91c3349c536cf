"""What KAITO's service persisted, by llama-index's own docstore, can be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_index.core import Document
from llama_index.core.schema import NodeRelationship, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from rag.errors import BadRequestError

from tests.unit.rag.storage.samples import ONE, Model, a_batch, a_document, found, held, open_store

TEXT = "The first sentence.  The second one. And the third, which is the last."


def persist(folder: Path, places: list[tuple[int | None, int, int]]) -> None:
    """TEXT in nodes; the first of each place is what the node says of its start."""
    document = Document(text=TEXT, metadata={"lang": "en"}, doc_id="D1")
    nodes = [
        TextNode(
            text=TEXT[start:end],
            start_char_idx=told,
            end_char_idx=None if told is None else end,
            metadata={"lang": "en"},
            relationships={NodeRelationship.SOURCE: document.as_related_node_info()},
        )
        for told, start, end in places
    ]
    docstore = SimpleDocumentStore()
    docstore.add_documents([*nodes, TextNode(text="alone", id_="alone")])
    docstore.persist(str(folder / "docstore.json"))


@pytest.mark.parametrize(
    ("places", "text"),
    [
        pytest.param([(0, 0, 36), (21, 21, 70)], TEXT, id="overlapping"),
        pytest.param([(21, 21, 70), (0, 0, 36)], TEXT, id="in another order"),
        pytest.param([(0, 0, 19), (21, 21, 70)], TEXT, id="blanks between them dropped"),
        pytest.param(
            [(None, 0, 19), (None, 21, 70)], f"{TEXT[:19]}\n\n{TEXT[21:]}", id="no places told"
        ),
    ],
)
def test_documents_are_put_together_and_embedded_anew(
    tmp_path: Path, places: list[tuple[int | None, int, int]], text: str
) -> None:
    (tmp_path / "docs").mkdir()
    persist(tmp_path / "docs", places)
    store = open_store(tmp_path)

    store.load("docs", None, overwrite=False)

    for _ in range(2):
        assert held(store, "docs") == {"D1": text, "alone": "alone"}
        page = store.get("docs").page(limit=1, offset=0)
        assert page.documents[0].metadata == {"lang": "en"}
        start, end = places[-1][1:]
        assert found(store, "docs", TEXT[start:end])[0] == TEXT[start:end]
        store.close()
        store = open_store(tmp_path)
    store.close()


def test_a_system_snapshot_of_kaito_is_named_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "systemsnapshots" / "2026-01-01T00-00-00_pod-12345678" / "docs"
    folder.mkdir(parents=True)
    persist(folder, [(0, 0, 70)])
    store = open_store(tmp_path)
    store.create("docs", ONE.spec).apply(a_batch(a_document("old", "old")))

    store.load("docs", str(folder), overwrite=True)

    assert set(held(store, "docs")) == {"D1", "alone"}
    store.close()


@pytest.mark.parametrize("content", ["", "[]", '{"docstore/data": {"x": {}}}', "\xff"])
def test_a_docstore_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "docstore.json").write_text(content, encoding="latin-1")
    store = open_store(tmp_path, Model())

    with pytest.raises(BadRequestError, match=r"docstore\.json"):
        store.load("docs", None, overwrite=False)

    assert store.names() == []
    store.close()
