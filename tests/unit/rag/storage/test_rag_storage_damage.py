"""A file that is not what was written is set aside and told of; the others go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from rag.errors import StorageError

from tests.unit.rag.storage.samples import (
    ONE,
    a_batch,
    a_document,
    found,
    held,
    index_files,
    open_store,
)


def two_indexes(directory: Path) -> Path:
    """`good` and `bad`; the latter's file."""
    store = open_store(directory)
    for name in ("good", "bad"):
        lines = "\n".join(f"line {number}" for number in range(50))
        store.create(name, ONE.spec).apply(
            a_batch(*(a_document(f"{name}{n}", f"{n} {lines}") for n in range(20)))
        )
    store.close()
    return next((directory / "indexes").glob("bad.*.db"))


def overwrite(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def turn_a_bit_of_a_vector(file: Path) -> None:
    """SQLite itself does not see it."""
    content = bytearray(file.read_bytes())
    vector = a_document("bad7", "line 3").vectors.tobytes()
    content[content.index(vector) + 5] ^= 1
    file.write_bytes(content)


def lose_a_row(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("DELETE FROM chunks WHERE doc = 3")
    connection.commit()
    connection.close()


def ruin_pages(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8192] = b"\xaa" * 8192
    file.write_bytes(content)


def another_program_s(file: Path) -> None:
    file.unlink()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE t (x)")
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [overwrite, empty, cut, turn_a_bit_of_a_vector, lose_a_row, ruin_pages, another_program_s],
)
def test_a_damaged_file_is_set_aside_and_the_others_go_on(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    file = two_indexes(tmp_path)
    damage(file)
    damaged = file.read_bytes()

    store = open_store(tmp_path)

    assert store.names() == ["good"]
    assert len(held(store, "good")) == 20
    (aside,) = (tmp_path / "indexes").glob("bad.*.corrupt-*")
    assert aside.read_bytes() == damaged
    (problem,) = store.problems
    assert str(aside) in problem
    assert "no good snapshot" in problem
    store.create("bad", ONE.spec).apply(a_batch(a_document("a", "new")))
    store.close()
    store = open_store(tmp_path)
    assert held(store, "bad") == {"a": "new"}
    assert aside.exists()
    store.close()


def test_the_newest_good_snapshot_is_offered_and_can_be_loaded(tmp_path: Path) -> None:
    two_indexes(tmp_path)
    store = open_store(tmp_path)
    good = store.persist("bad", None)
    torn = store.persist("bad", None)
    store.close()
    overwrite(next((tmp_path / "indexes").glob("bad.*.db")))
    next(torn.glob("*.db")).write_bytes(b"torn")

    store = open_store(tmp_path)

    (problem,) = store.problems
    assert str(good) in problem
    store.load("bad", str(good), overwrite=False)
    assert len(held(store, "bad")) == 20
    store.close()


def test_a_later_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = two_indexes(tmp_path)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = file.read_bytes()

    store = open_store(tmp_path)

    assert store.names() == ["good"]
    assert "format 99" in store.problems[0]
    for use in (lambda: store.get("bad"), lambda: store.create("bad", ONE.spec)):
        with pytest.raises(StorageError, match="format 99"):
            use()
    store.close()
    assert file.read_bytes() == before


def test_an_older_file_that_a_crash_left_behind_never_comes_back(tmp_path: Path) -> None:
    file = two_indexes(tmp_path)
    old = file.with_name("bad.00000000-aaaaaaaa.db")
    old.write_bytes(file.read_bytes())
    (tmp_path / "indexes" / ".making-0123").write_bytes(b"half")

    store = open_store(tmp_path)

    assert not old.exists()
    store.drop("bad")
    store.close()
    assert [each.split(".")[0] for each in index_files(tmp_path)] == ["good"]


def test_a_log_that_was_torn_loses_only_what_was_torn(tmp_path: Path) -> None:
    """As a power cut leaves it: the file copied while it is written, its log cut at any byte."""
    store = open_store(tmp_path / "live")
    index = store.create("docs", ONE.spec)
    sizes = []
    for number in range(6):
        index.apply(a_batch(a_document(f"d{number}", f"text {number}")))
        sizes.append(_log(tmp_path / "live").stat().st_size)
    copies = {each.name: each.read_bytes() for each in (tmp_path / "live/indexes").iterdir()}

    for kept in range(0, sizes[-1] + 1, sizes[-1] // 40):
        folder = tmp_path / f"cut{kept}"
        (folder / "indexes").mkdir(parents=True)
        for name, content in copies.items():
            if not name.endswith("-shm"):
                end = kept if name.endswith("-wal") else len(content)
                (folder / "indexes" / name).write_bytes(content[:end])
        again = open_store(folder)
        whole = sum(size <= kept for size in sizes)
        assert again.names() == ["docs"]
        assert list(held(again, "docs")) == [f"d{number}" for number in range(whole)]
        again.close()
    store.close()


def test_a_follower_sets_nothing_aside(tmp_path: Path) -> None:
    two_indexes(tmp_path)
    writer = open_store(tmp_path)
    broken = tmp_path / "indexes" / "broken.00000001-aaaaaaaa.db"
    broken.write_bytes(b"no database" * 100)

    follower = open_store(tmp_path)

    assert sorted(follower.names()) == ["bad", "good"]
    assert "broken" in follower.problems[0]
    assert broken.exists()
    assert found(follower, "good", "line 3")[0] == "line 3"
    follower.close()
    writer.close()


def _log(directory: Path) -> Path:
    return next((directory / "indexes").glob("*-wal"))
