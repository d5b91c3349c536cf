"""A second process reads what the first writes, and takes over; here both are in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from rag.errors import NotWritableError, UnknownIndexError
from rag.storage import database

from tests.unit.rag.storage.samples import (
    ONE,
    a_batch,
    a_document,
    eventually,
    found,
    held,
    index_files,
    open_store,
)

BOTH_JOURNALS = pytest.mark.parametrize("filesystem", ["ext4", "nfs4"])


@BOTH_JOURNALS
def test_a_follower_shows_what_was_written(tmp_path: Path, filesystem: str) -> None:
    writer = open_store(tmp_path, filesystem=filesystem)
    index = writer.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "alpha")))
    follower = open_store(tmp_path, filesystem=filesystem)
    assert held(follower, "docs") == {"a": "alpha"}
    assert not follower.writable

    index.apply(a_batch(a_document("b", "beta"), delete=["a"]))

    eventually(lambda: found(follower, "docs", "beta") == ["beta"])
    assert held(follower, "docs") == {"b": "beta"}
    follower.close()
    writer.close()


def test_a_follower_sees_indexes_come_go_and_be_replaced(tmp_path: Path) -> None:
    writer = open_store(tmp_path)
    follower = open_store(tmp_path)
    index = writer.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "alpha")))
    eventually(lambda: "docs" in follower.names() and follower.get("docs").count() == (1, 1))
    same = follower.get("docs")

    writer.persist("docs", None)
    index.apply(a_batch(a_document("b", "beta")))
    eventually(lambda: same.count() == (2, 2))
    writer.load("docs", None, overwrite=True)
    eventually(lambda: same.count() == (1, 1))
    assert follower.get("docs") is same
    index.apply(a_batch(a_document("c", "gamma")))
    eventually(lambda: same.count() == (2, 2))

    writer.drop("docs")
    eventually(lambda: follower.names() == [])
    with pytest.raises(UnknownIndexError):
        same.stored(["a"])
    follower.close()
    writer.close()


def test_a_follower_writes_nothing_and_says_when_to_come_again(tmp_path: Path) -> None:
    writer = open_store(tmp_path)
    writer.create("docs", ONE.spec)
    follower = open_store(tmp_path)

    for write in (
        lambda: follower.get("docs").apply(a_batch(a_document("a", "x"))),
        lambda: follower.create("more", ONE.spec),
        lambda: follower.drop("docs"),
    ):
        with pytest.raises(NotWritableError) as refused:
            write()
        assert refused.value.retry_after

    assert follower.create("docs", ONE.spec).count() == (0, 0)
    assert held(writer, "docs") == {}
    follower.close()
    writer.close()


@BOTH_JOURNALS
def test_a_write_waits_for_the_writer_to_go(tmp_path: Path, filesystem: str) -> None:
    writer = open_store(tmp_path, filesystem=filesystem)
    writer.create("docs", ONE.spec)
    follower = open_store(tmp_path, filesystem=filesystem, write_wait=10)
    writer.get("docs").apply(a_batch(a_document("a", "alpha")))
    writer.close()

    follower.get("docs").apply(a_batch(a_document("b", "beta")))

    assert held(follower, "docs") == {"a": "alpha", "b": "beta"}
    assert follower.writable
    follower.close()


def test_a_follower_that_slept_too_long_reads_everything_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "REMEMBERED", 5)
    writer = open_store(tmp_path)
    index = writer.create("docs", ONE.spec)
    index.apply(a_batch(*(a_document(f"d{number}", "x") for number in range(100))))
    follower = open_store(tmp_path, poll=3600)
    for number in range(100):
        index.apply(a_batch(delete=[f"d{number}"]))
    index.apply(a_batch(a_document("last", "last")))

    follower.get("docs").refresh()

    assert held(follower, "docs") == {"last": "last"}
    assert found(follower, "docs", "x") == ["last"]
    follower.close()
    writer.close()


def test_a_new_writer_reads_what_it_has_not_seen_before_it_writes(tmp_path: Path) -> None:
    writer = open_store(tmp_path)
    index = writer.create("docs", ONE.spec)
    follower = open_store(tmp_path, poll=3600)
    index.apply(a_batch(a_document("a", "alpha")))
    writer.close()

    follower.get("docs").own()

    assert found(follower, "docs", "alpha") == ["alpha"]
    follower.close()


def test_a_follower_leaves_the_files_as_they_are(tmp_path: Path) -> None:
    writer = open_store(tmp_path)
    index = writer.create("docs", ONE.spec)
    index.apply(a_batch(*(a_document(f"d{number}", "x" * 5000) for number in range(50))))
    before = {name: (tmp_path / "indexes" / name).stat().st_mtime_ns for name in _data(tmp_path)}

    follower = open_store(tmp_path)
    assert follower.get("docs").count() == (50, 50)
    follower.close()

    after = {name: (tmp_path / "indexes" / name).stat().st_mtime_ns for name in _data(tmp_path)}
    assert after == before
    index.apply(a_batch(a_document("more", "more")))
    assert writer.get("docs").count() == (51, 51)
    writer.close()


def test_the_next_writer_sets_aside_what_a_follower_could_not_read(tmp_path: Path) -> None:
    writer = open_store(tmp_path)
    writer.create("docs", ONE.spec)
    (tmp_path / "indexes" / "broken.00000001-aaaaaaaa.db").write_bytes(b"no database" * 100)
    follower = open_store(tmp_path)
    writer.close()

    assert follower.wait_writable(5)
    eventually(lambda: any("corrupt" in name for name in index_files(tmp_path)))
    assert follower.names() == ["docs"]
    follower.close()


def _data(directory: Path) -> list[str]:
    return [each for each in index_files(directory) if not each.endswith("-shm")]
