"""Snapshots are whole or no snapshots, lie where they may, and are checked before they are used."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rag.errors import BadRequestError, IndexExistsError, NotFoundError
from rag.storage import snapshots

from tests.unit.rag.storage.samples import (
    ONE,
    Model,
    a_batch,
    a_document,
    found,
    held,
    index_files,
    open_store,
)


def test_a_snapshot_brings_back_what_was_there(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "alpha"), a_document("b", "beta")))
    path = store.persist("docs", None)
    index.apply(a_batch(a_document("c", "gamma"), delete=["a"]))

    assert store.load("docs", None, overwrite=True) == path
    for _ in range(2):
        assert held(store, "docs") == {"a": "alpha", "b": "beta"}
        assert found(store, "docs", "alpha")[0] == "alpha"
        store.close()
        store = open_store(tmp_path)
    store.get("docs").apply(a_batch(a_document("d", "delta")))
    assert path.parent == tmp_path / "snapshots" / "docs"
    assert len([each for each in index_files(tmp_path) if each.endswith(".db")]) == 1
    store.close()


def test_the_index_that_callers_hold_is_the_loaded_one(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    store.persist("docs", None)
    index.apply(a_batch(a_document("a", "alpha")))
    store.load("docs", None, overwrite=True)

    index.apply(a_batch(a_document("b", "beta")))

    assert held(store, "docs") == {"b": "beta"}
    store.close()


def test_an_index_that_is_there_is_replaced_only_if_asked(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.create("docs", ONE.spec).apply(a_batch(a_document("a", "alpha")))
    path = store.persist("docs", "backups/one")

    with pytest.raises(IndexExistsError):
        store.load("docs", "backups/one", overwrite=False)
    store.load("copy", str(path), overwrite=False)

    assert held(store, "copy") == held(store, "docs") == {"a": "alpha"}
    store.close()
    store = open_store(tmp_path)
    assert store.names() == ["copy", "docs"]
    store.close()


@pytest.mark.parametrize(
    "path",
    ["/etc", "../elsewhere", "", ".", "indexes", "indexes/x", ".lock", "link/x", "/mnt/data-2"],
)
def test_a_path_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    directory = tmp_path / "data"
    (tmp_path / "outside").mkdir()
    store = open_store(directory)
    store.create("docs", ONE.spec)
    (directory / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(BadRequestError, match="persist directory"):
        store.persist("docs", path)
    with pytest.raises(BadRequestError, match="persist directory"):
        store.load("docs", path, overwrite=True)

    assert list((tmp_path / "outside").iterdir()) == []
    store.close()


@pytest.mark.parametrize("path", ["nul\0", "long" * 100, "a/" + "b" * 300 + "/c"])
def test_a_path_that_no_file_system_has_is_refused(tmp_path: Path, path: str) -> None:
    store = open_store(tmp_path)
    store.create("docs", ONE.spec)
    with pytest.raises(BadRequestError, match="cannot be"):
        store.persist("docs", path)
    with pytest.raises(BadRequestError, match="cannot be"):
        store.load("docs", path, overwrite=True)
    store.close()


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.create("docs", ONE.spec)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")

    with pytest.raises(BadRequestError, match="no snapshot"):
        store.persist("docs", "mine")

    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    store.close()


def test_a_snapshot_replaces_one_at_the_same_place(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    for name in "abc":
        index.apply(a_batch(a_document(name, name)))
        path = store.persist("docs", "backup")

    assert len(list(path.iterdir())) == 2
    store.load("copy", "backup", overwrite=False)
    assert len(held(store, "copy")) == 3
    store.close()


def test_a_snapshot_that_breaks_off_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "alpha")))
    path = store.persist("docs", "backup")
    before = sorted(path.iterdir())

    with monkeypatch.context() as patched:
        patched.setattr(snapshots.durable, "write_whole", _breaks_off)
        with pytest.raises(RuntimeError):
            store.persist("docs", "backup")

    assert sorted(path.iterdir()) == before
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".making")] == []
    store.close()


def _breaks_off(path: Path, content: bytes) -> None:
    raise RuntimeError


def no_metadata(folder: Path) -> None:
    (folder / "metadata.json").unlink()


def torn_metadata(folder: Path) -> None:
    (folder / "metadata.json").write_text((folder / "metadata.json").read_text()[:50])


def torn_file(folder: Path) -> None:
    file = next(folder.glob("*.db"))
    file.write_bytes(file.read_bytes()[:-100])


def turned_bit(folder: Path) -> None:
    file = next(folder.glob("*.db"))
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def no_file(folder: Path) -> None:
    next(folder.glob("*.db")).unlink()


def later_format(folder: Path) -> None:
    change(folder, format=2)


def file_elsewhere(folder: Path) -> None:
    change(folder, file="../../../indexes/x.db")


def change(folder: Path, **values: object) -> None:
    content = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps({**content, **values}))


@pytest.mark.parametrize(
    "damage",
    [no_metadata, torn_metadata, torn_file, turned_bit, no_file, later_format, file_elsewhere],
)
def test_what_is_no_whole_snapshot_is_refused_and_the_index_stays(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    store = open_store(tmp_path)
    store.create("docs", ONE.spec).apply(a_batch(a_document("a", "alpha")))
    damage(store.persist("docs", "backup"))

    with pytest.raises(BadRequestError):
        store.load("docs", "backup", overwrite=True)

    assert held(store, "docs") == {"a": "alpha"}
    assert not [each for each in index_files(tmp_path) if each.startswith(".")]
    store.close()


def test_a_snapshot_of_another_embedder_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.create("docs", ONE.spec).apply(a_batch(a_document("a", "alpha")))
    store.persist("docs", "backup")
    store.close()
    store = open_store(tmp_path, Model("two"))

    with pytest.raises(BadRequestError, match="embedded by one"):
        store.load("copy", "backup", overwrite=False)

    assert store.names() == ["docs"]
    store.close()


def test_what_is_not_there_cannot_be_loaded(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for path in (None, "nowhere"):
        with pytest.raises(NotFoundError, match="does not exist"):
            store.load("docs", path, overwrite=True)
    store.close()


def test_the_newest_five_are_kept_and_dropping_the_index_leaves_them(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.create("Docs", ONE.spec)
    taken = [store.persist("Docs", None) for _ in range(7)]
    store.drop("Docs")

    assert [each.exists() for each in taken] == [False] * 2 + [True] * 5
    store.load("Docs", None, overwrite=False)
    assert store.names() == ["Docs"]
    store.close()


def test_no_acknowledged_write_is_lost_between_two_files(tmp_path: Path) -> None:
    """Loads beside writes: what is acknowledged after the last load is there."""
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    store.persist("docs", "empty")
    done, acknowledged = threading.Event(), []

    def write() -> None:
        number = 0
        while not done.is_set():
            index.apply(a_batch(a_document(f"d{number}", f"text {number}")))
            acknowledged.append(f"d{number}")
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(10):
        before = len(acknowledged)
        store.load("docs", "empty", overwrite=True)
        while len(acknowledged) < before + 5:
            done.wait(0.001)
    last = len(acknowledged)
    while len(acknowledged) < last + 5:
        done.wait(0.001)
    done.set()
    thread.join()

    there = held(store, "docs")
    assert set(acknowledged[last:]) <= set(there)
    store.close()
    store = open_store(tmp_path)
    assert held(store, "docs") == there
    store.close()
