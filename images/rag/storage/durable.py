"""Calls after which something is there to stay."""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Never for a database that is open: closing any handle to it drops this process's locks."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_folder(path: Path) -> None:
    """With those above it, each of which is there after a power cut."""
    if not path.exists():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def move(source: Path, target: Path) -> None:
    """In one step, and there after a power cut. `source` is synced by the caller."""
    source.replace(target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def write_whole(path: Path, content: bytes) -> None:
    """The old content or the new one, whatever happens."""
    making = path.with_name(f".making-{path.name}")
    with making.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    move(making, path)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
