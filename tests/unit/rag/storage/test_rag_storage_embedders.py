"""Vectors of two models never meet: an index of another one is embedded anew."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rag.documents import IndexSpec, Vectors
from rag.errors import BadRequestError, EmbedderError, NotReadyError
from rag.memory.analysis import Analyzer
from rag.storage import present
from rag.storage.settings import StorageSettings
from rag.storage.store import LocalStore

from tests.unit.rag.storage.samples import (
    ONE,
    Model,
    a_batch,
    a_document,
    eventually,
    found,
    held,
    open_store,
)

TWO = Model("two", dimension=12)


def filled(directory: Path) -> None:
    store = open_store(directory)
    store.create("docs", ONE.spec).apply(
        a_batch(a_document("a", "alpha\nbeta"), a_document("b", "gamma"))
    )
    store.close()


@pytest.mark.parametrize(
    ("turned", "same"), [(0.0, True), (0.01, True), (0.1, False), (1.0, False)]
)
def test_models_are_told_apart_by_what_they_make_of_a_text(turned: float, same: bool) -> None:
    one = IndexSpec("x", 2, (1.0, 0.0))
    other = IndexSpec("y", 2, (float(np.cos(turned)), float(np.sin(turned))))

    assert present.same_model(one, other) is same
    assert not present.same_model(one, IndexSpec("x", 3, (1.0, 0.0, 0.0)))


def test_all_texts_are_embedded_anew_once(tmp_path: Path) -> None:
    filled(tmp_path)
    model = Model("two", dimension=12)

    store = open_store(tmp_path, model)

    assert sorted(model.embedded) == ["alpha", "beta", "gamma"]
    assert store.get("docs").spec.dimension == 12
    assert found(store, "docs", "beta", model)[0] == "beta"
    vectors = store.get("docs").vectors("b")
    assert np.array_equal(next(iter(vectors.values())), model.vector("gamma"))
    store.get("docs").apply(a_batch(a_document("c", "delta", model)))
    store.close()

    model.embedded.clear()
    store = open_store(tmp_path, model)
    assert model.embedded == []
    assert found(store, "docs", "delta", model)[0] == "delta"
    store.close()


def test_what_was_embedded_is_asked_of_whoever_embeds(tmp_path: Path) -> None:
    filled(tmp_path)
    model = Model("two")
    store = LocalStore.open(
        StorageSettings(tmp_path),
        model.spec,
        model.embed,
        embedded_text=lambda document, chunk: f"{document.doc_id}: {chunk.text}",
    )

    assert sorted(model.embedded) == ["a: alpha", "a: beta", "b: gamma"]
    store.close()


def test_progress_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path)
    monkeypatch.setattr(present, "_TOLD_EVERY", 0.0)
    with caplog.at_level(logging.INFO):
        open_store(tmp_path, TWO).close()

    assert "embedded by one, now it is two" in caplog.text
    assert "embedded 3 of 3 chunks anew" in caplog.text


def test_a_start_without_the_embedder_fails_and_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path)

    with pytest.raises(EmbedderError):
        LocalStore.open(StorageSettings(tmp_path), TWO.spec, _is_down)

    store = open_store(tmp_path)
    assert found(store, "docs", "beta")[0] == "beta"
    store.close()


def test_a_follower_with_another_embedder_answers_with_its_own(tmp_path: Path) -> None:
    """The old release writes on while the new one waits to take over."""
    filled(tmp_path)
    writer = open_store(tmp_path)
    follower = open_store(tmp_path, TWO)
    assert found(follower, "docs", "beta", TWO)[0] == "beta"
    assert follower.get("docs").vectors("a") == {}

    writer.get("docs").apply(a_batch(a_document("c", "delta"), delete=["b"]))
    eventually(lambda: found(follower, "docs", "delta", TWO)[0] == "delta")
    assert found(writer, "docs", "delta")[0] == "delta"
    writer.close()

    assert follower.wait_writable(5)
    follower.get("docs").apply(a_batch(a_document("d", "epsilon", TWO)))
    assert set(held(follower, "docs")) == {"a", "c", "d"}
    follower.close()
    model = Model("two", dimension=12)
    store = open_store(tmp_path, model)
    assert model.embedded == []
    assert found(store, "docs", "delta", model)[0] == "delta"
    store.close()


class Slow(Model):
    def __init__(self, salt: str) -> None:
        super().__init__(salt)
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.set()
        assert self.may_answer.wait(10)
        return super().embed(texts)


def test_an_index_that_a_follower_has_to_embed_is_not_ready_until_then(tmp_path: Path) -> None:
    writer = open_store(tmp_path)
    writer.create("old", ONE.spec).apply(a_batch(a_document("a", "alpha")))
    writer.persist("old", "backup")
    writer.drop("old")
    slow = Slow("two")
    follower = open_store(tmp_path, slow)
    writer.load("new", "backup", overwrite=False)
    assert slow.asked.wait(10)

    with pytest.raises(NotReadyError) as waits:
        follower.get("new")
    assert waits.value.retry_after
    slow.may_answer.set()
    eventually(lambda: "new" in follower.names())
    assert found(follower, "new", "alpha", slow) == ["alpha"]

    slow.asked.clear()
    slow.may_answer.clear()
    writer.get("new").apply(a_batch(a_document("b", "beta")))
    assert slow.asked.wait(10)
    writer.create("other", ONE.spec)
    eventually(lambda: "other" in follower.names())
    slow.may_answer.set()
    eventually(lambda: found(follower, "new", "beta", slow)[0] == "beta")
    follower.close()
    writer.close()


def test_an_index_of_another_embedder_cannot_be_made(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(BadRequestError):
        store.create("docs", TWO.spec)
    store.close()


def test_words_of_another_analyzer_are_taken_anew(tmp_path: Path) -> None:
    filled(tmp_path)
    for _ in range(2):
        store = LocalStore.open(
            StorageSettings(tmp_path), ONE.spec, _is_down, analyzer=Analyzer("german")
        )
        assert store.get("docs").database.header().words == Analyzer("german").signature
        assert found(store, "docs", "beta")[0] == "beta"
        store.close()


def _is_down(texts: Sequence[str]) -> Vectors:
    raise EmbedderError("the embedding service is down")
