"""What the file system can do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rag.errors import StorageError

Journal = Literal["wal", "truncate"]
"""SQLite's: `wal` needs memory that all processes share, thus one machine; `truncate` needs only
locks on byte ranges, and readers hold up the writer for as long as they read."""

_LOCAL = re.compile(r"aufs|bcachefs|btrfs|ext[234]|f2fs|overlay|ramfs|tmpfs|xfs|zfs")
"""Seen by one kernel. What is not known here is taken for a network's: slower, and safe."""
_BLIND = ("nobrl", "nolock", "local_lock=all", "local_lock=flock", "local_lock=posix")
"""Mount options by which other machines do not see our locks."""


@dataclass(frozen=True, slots=True)
class Mount:
    point: str
    type: str
    options: frozenset[str]


def journal_of(mount: Mount) -> Journal:
    """Raises StorageError where two machines could write at once without knowing."""
    if _LOCAL.fullmatch(mount.type):
        return "wal"
    if blind := sorted(mount.options.intersection(_BLIND)):
        raise StorageError(
            f"{mount.point} ({mount.type}) is mounted with {', '.join(blind)}: the lock that lets "
            "one process write is not seen by other nodes. Mount it without, or take another volume"
        )
    return "truncate"


def mount_of(path: Path, mountinfo: Iterable[str]) -> Mount:
    """The mount that `path`, which is resolved, lies on, by /proc/self/mountinfo's lines."""
    best = Mount("/", "unknown", frozenset())
    for line in mountinfo:
        left, _, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if len(before) < 6 or len(after) < 1:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before[4])
        if len(point) >= len(best.point) and path.is_relative_to(point):
            superblock = after[2] if len(after) > 2 else ""
            best = Mount(point, after[0], frozenset(f"{before[5]},{superblock}".split(",")))
    return best
