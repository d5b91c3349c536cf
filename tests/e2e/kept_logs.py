"""Every log of a cluster, kept until its run has ended.

The kubelet removes the logs of a pod with the pod, a machine goes with its directory, and `down`
removes the rest: the logs that one would look through last are gone first. A hard link outlives all
of that, and what is written later is in it too, since it is the same file.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from localcluster.machines import MachineStore
from localcluster.paths import State

LOOK_SECONDS = 0.1
"""A log that comes and goes in less is not seen; a container takes longer to start and end."""


class KeptLogs:
    """Links in `folder`, which must be on the file system of `state`; one for each file."""

    def __init__(self, state: State, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._state = state
        self._folder = folder
        self._names: dict[int, str] = {}
        self._gone: dict[int, str] = {}

    def look(self) -> None:
        """Keep what is new. A file that was renamed is not: a rotated log stays the same file."""
        for folder in _folders(self._state):
            for entry in _files(folder):
                if entry.inode() not in self._names and _is_log(entry.name):
                    self._keep(entry)

    def texts(self) -> dict[str, str]:
        """All that was ever written to them, by their path in the cluster's directory."""
        kept = list(self._names.items())  # another thread may be looking just now
        return {name: _text(self._link(inode), name) for inode, name in kept}

    @property
    def lost(self) -> list[str]:
        """What was there and could not be kept: nobody can say that no secret was in it."""
        return sorted(self._gone.values())

    def _keep(self, entry: os.DirEntry[str]) -> None:
        new = self._folder / "new"
        name = os.path.relpath(entry.path, self._state.root)
        try:
            os.link(entry.path, new)
        except (FileNotFoundError, NotADirectoryError):
            self._gone[entry.inode()] = name  # or renamed: then it is met again
            return
        inode = new.stat().st_ino  # of another file, where this one was rotated just now
        new.rename(self._link(inode))
        self._names.setdefault(inode, f"{name}#{inode}")
        self._gone.pop(inode, None)

    def _link(self, inode: int) -> Path:
        return self._folder / str(inode)


@contextmanager
def repeated(look: Callable[[], None], seconds: float) -> Iterator[None]:
    """Look again and again beside what is done within; what it raises is raised at the end."""
    stop = Event()

    def run() -> None:
        look()
        while not stop.wait(seconds):
            look()
        look()

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(run)
        try:
            yield
        finally:
            stop.set()
    looking.result()


def _folders(state: State) -> Iterator[Path]:
    """Where the cluster's own programs write, and each node's programs and pods."""
    yield from (state.logs, state.control_plane / "logs")
    store = MachineStore(state.machines)
    nodes = [store.node_directory(each.name) for each in _entries(state.machines)]
    for node in (state.system_node, *nodes):
        yield from (node / "logs", node / "log-pods")


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield entry


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """None where the folder is not there, or not any more."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_log(name: str) -> bool:
    """Rotated ones, too: the kubelet names them `0.log.<time>`, and compresses all but one."""
    return ".log" in name and not name.endswith(".tmp")


def _text(link: Path, name: str) -> str:
    content = link.read_bytes()
    if name.partition("#")[0].endswith(".gz"):
        content = gzip.decompress(content)
    return content.decode(errors="replace")
