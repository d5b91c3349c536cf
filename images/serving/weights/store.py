"""A directory of weights, shared by whoever mounts it: the layout of the Hugging Face cache.

.lock                       held while somebody downloads
blobs/<digest>              files, each once, whatever revisions have them
snapshots/<revision>/…      the files of a revision by their names: links to blobs
refs/main                   the commit that main was when it was first asked for
complete/<revision>-<what>  what was verified, with sizes; written last
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

WHAT = "the weights"
REMEDY = "take nodes with a larger disk, or remove weights that are no longer served"
"""Of the sentence that refuses a disk that is too small."""


class Store:
    """One repository's directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.snapshots = root / "snapshots"
        self._complete = root / "complete"

    @contextmanager
    def locked(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Alone in the directory. The kernel frees the lock when its holder dies."""
        for folder in (self.blobs, self.snapshots, self._complete, self.root / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell("another pod of this node is downloading; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def head(self) -> str:
        """The commit that stands for main here; empty where nothing was downloaded yet."""
        try:
            return (self.root / "refs/main").read_text().strip()
        except FileNotFoundError:
            return ""

    def set_head(self, commit: str) -> None:
        """`snapshots/main` leads there, for engines that are told no commit."""
        _write(self.root / "refs/main", commit)
        _link(self.snapshots / "main", Path(commit))

    def is_complete(self, revision: str, what: str) -> bool:
        """Whether all that belongs to it was verified once and is still as long as it was."""
        try:
            files = json.loads(self._marker(revision, what).read_text())
            folder = self.snapshots / revision
            return all((folder / name).stat().st_size == size for name, size in files.items())
        except (OSError, ValueError, AttributeError):
            return False

    def link(self, revision: str, blobs: Mapping[str, str]) -> None:
        """Name → key of a blob, as files of the snapshot."""
        for name, key in blobs.items():
            path = self.snapshots / revision / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(path, Path("../" * (name.count("/") + 2)) / "blobs" / key)

    def finish(self, revision: str, what: str, names: Mapping[str, int]) -> None:
        """All of it is there: size by name. What other tries left behind goes."""
        _write(self._marker(revision, what), json.dumps(dict(names), indent=1))
        for left in self.blobs.glob("*.incomplete"):
            left.unlink()

    def _marker(self, revision: str, what: str) -> Path:
        digest = hashlib.sha256(what.encode()).hexdigest()[:12]
        return self._complete / f"{revision}-{digest}"


def _write(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    os.replace(new, path)


def _link(path: Path, target: Path) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    os.replace(new, path)
