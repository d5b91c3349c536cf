"""Which journal a file system allows, and where no lock is seen."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from rag.errors import StorageError
from rag.storage import filesystem, lock
from rag.storage.filesystem import Mount
from rag.storage.lock import DirectoryLock

MOUNTINFO = r"""
21 1 259:1 / / rw,relatime - ext4 /dev/root rw
30 21 0:40 / /mnt/data rw - nfs4 10.0.0.1:/share rw,vers=4.1,local_lock=none
31 21 0:41 / /mnt/data/a\040b rw - cifs //host/share rw,nobrl,vers=3.1.1
""".strip().splitlines()


@pytest.mark.parametrize(
    ("type", "journal"),
    [
        ("ext4", "wal"),
        ("xfs", "wal"),
        ("overlay", "wal"),
        ("tmpfs", "wal"),
        ("nfs4", "truncate"),
        ("cifs", "truncate"),
        ("fuse.blobfuse2", "truncate"),
        ("somethingfs", "truncate"),
    ],
)
def test_shared_memory_is_asked_only_of_a_file_system_of_this_machine(
    type: str, journal: str
) -> None:
    assert filesystem.journal_of(Mount("/", type, frozenset())) == journal


@pytest.mark.parametrize("option", ["nobrl", "nolock", "local_lock=all"])
def test_where_other_nodes_do_not_see_the_lock_nothing_is_opened(option: str) -> None:
    with pytest.raises(StorageError, match=option):
        filesystem.journal_of(Mount("/mnt", "cifs", frozenset({"rw", option})))


@pytest.mark.parametrize(
    ("path", "type"),
    [
        ("/var/x", "ext4"),
        ("/mnt/data", "nfs4"),
        ("/mnt/data/x", "nfs4"),
        ("/mnt/data2", "ext4"),
        ("/mnt/data/a b/c", "cifs"),
    ],
)
def test_the_mount_of_a_path_is_the_innermost(path: str, type: str) -> None:
    assert filesystem.mount_of(Path(path), MOUNTINFO).type == type


def test_mount_options_are_those_of_the_superblock_too() -> None:
    assert "nobrl" in filesystem.mount_of(Path("/mnt/data/a b"), MOUNTINFO).options


def test_a_lock_is_one_process_s_until_it_lets_go(tmp_path: Path) -> None:
    first, second = DirectoryLock(tmp_path / ".lock"), DirectoryLock(tmp_path / ".lock")

    assert first.acquire()
    assert not second.acquire()
    assert second.holder()
    first.release()
    assert second.acquire()
    second.release()


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="without locks"):
        DirectoryLock(tmp_path / ".lock").acquire()
