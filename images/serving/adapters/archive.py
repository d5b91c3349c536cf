"""An adapter on its way into a serving pod: a tar of plain files, the same bytes each time."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

CONFIG = "adapter_config.json"
"""What makes a directory an adapter, as PEFT saves it."""


class ArchiveError(Exception):
    """The archive, or the directory, is no adapter; the message is for the user, in one line."""


def pack(folder: Path, into: IO[bytes]) -> None:
    """All files of the folder. Times and owners are left out: the same adapter is the same tar."""
    if not (folder / CONFIG).is_file():
        raise ArchiveError(f"there is no {CONFIG} in the adapter")
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(_files(folder)):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            member.mode = 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)


def unpack(archive: IO[bytes], folder: Path) -> None:
    """Into an empty folder. ArchiveError where a member is anything but a file below it."""
    try:
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            for member in tar:
                _unpack_one(tar, member, folder)
    except tarfile.TarError as error:
        raise ArchiveError(f"it is no tar archive: {error}") from error
    if not (folder / CONFIG).is_file():
        raise ArchiveError(f"there is no {CONFIG} in the adapter")


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if member.isdir():
        return
    if not member.isreg():
        raise ArchiveError(f"{member.name!r} is neither a file nor a directory")
    if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in member.name:
        raise ArchiveError(f"{member.name!r} points out of the adapter")
    target = folder.joinpath(*name.parts)
    content = tar.extractfile(member)
    if content is None or target.exists():
        raise ArchiveError(f"{member.name!r} is there twice")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(content, file)


def _files(folder: Path) -> Iterator[Path]:
    """Files alone, links followed: a volume of a ConfigMap holds nothing but links. What starts
    with a dot is the volume's, or git's."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path
