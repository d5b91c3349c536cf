"""Layers of an image as files: in order, the later over the earlier, none outside the folder."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from oci.errors import TransferError

_REMOVED = ".wh."
_ALL_REMOVED = ".wh..wh..opq"


def unpack(layer: Path, folder: Path) -> None:
    """TransferError where it is no tar (or one of zstd), or would write elsewhere."""
    try:
        with tarfile.open(layer, mode="r|*") as tar:
            for member in tar:
                _one(tar, member, folder)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise TransferError(
            f"the layer sha256:{layer.name} cannot be unpacked ({error}): push the image with"
            " layers that are tar or gzip"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise TransferError(
            f"the layer sha256:{layer.name} has a file below what is no directory: {error.filename}"
        ) from error


def confine(folder: Path) -> None:
    """Take away links that lead out of the folder, by way of others too: whoever reads or writes
    through them would read or write what is no part of the image. To be done again for a part of
    it that goes elsewhere alone."""
    root = os.path.realpath(folder)
    for place, folders, names in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *names)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                path.unlink()


def _one(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if not name.parts:
        return
    path = _below(folder, member.name)
    if path.name == _ALL_REMOVED:
        _remove(path.parent)
        path.parent.mkdir(parents=True)
    elif path.name.startswith(_REMOVED):
        _remove(_hidden(folder, name))
    elif member.isdir():
        if not path.is_dir():
            _remove(path)
        path.mkdir(parents=True, exist_ok=True)
    elif member.isfile():
        _write(tar, member, path)
    elif member.islnk():
        source = _below(folder, member.linkname)
        if source.is_file() and source != path:
            _fresh(path)
            os.link(source, path, follow_symlinks=False)
    elif member.issym() and _leads_inside(member):
        _fresh(path)
        path.symlink_to(member.linkname)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    _fresh(path)
    with path.open("xb") as file:
        if content is not None:
            shutil.copyfileobj(content, file, 1 << 20)


def _leads_inside(member: tarfile.TarInfo) -> bool:
    """By its words: see `confine`. Base images have others; nothing that is asked for is behind
    those."""
    target = PurePosixPath(os.path.normpath(PurePosixPath(member.name).parent / member.linkname))
    return not target.is_absolute() and ".." not in target.parts


def _below(folder: Path, name: str) -> Path:
    """The path, once no part of it, links of the image included, leads out of the folder."""
    pure = PurePosixPath(name)
    path = folder.joinpath(*pure.parts)
    outside = pure.is_absolute() or ".." in pure.parts
    # Not `resolve`, which takes links in a circle for a fault of the program.
    parent = Path(os.path.realpath(path.parent))
    if outside or not parent.is_relative_to(os.path.realpath(folder)):
        raise TransferError(f"the image has a file that would lie elsewhere: {name}")
    return path


def _hidden(folder: Path, name: PurePosixPath) -> Path:
    """What a whiteout takes away."""
    hidden = name.name.removeprefix(_REMOVED)
    if hidden in ("", ".", ".."):
        raise TransferError(f"the image takes away what is no file: {name}")
    return _below(folder, str(name.with_name(hidden)))


def _fresh(path: Path) -> None:
    _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
