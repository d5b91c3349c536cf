"""Layers: blobs that a manifest names, and tars of files that are the same bytes each time."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from oci.content import Content, Part, Piece

TAR = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"
"""The annotation that names the file which a layer is, where it is no tar."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob, and what the manifest says of it. Of what has no compression `diff_id`, the digest
    of the tar, is the digest."""

    content: Content
    media_type: str
    digest: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[Path, str] = field(default_factory=dict)
    """The digests of the files in it, where it was made of files here."""

    @property
    def size(self) -> int:
        return self.content.size

    @property
    def diff_id(self) -> str:
        return self.digest

    def descriptor(self) -> dict[str, Any]:
        """As manifests have it."""
        found = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return {**found, "annotations": dict(self.annotations)} if self.annotations else found


def tar_layer(files: Mapping[str, Path], into: IO[bytes] | None = None) -> Layer:
    """A layer with these files, by their path in the image; written to `into` where one is given.

    Names are sorted, times are 0, owners are root, modes 0644 and 0755: the same files are the
    same layer. It is not compressed, since weights do not shrink, and so nobody unpacks it twice.
    The files are read for their digest now, and once more when they are written or sent.
    """
    content = Content(tuple(_pieces(files)))
    digest, found = content.digests()
    if into is not None:
        for chunk in content.chunks():
            into.write(chunk)
    return Layer(content, TAR, digest, files=found)


def file_layer(path: Path, media_type: str, title: str = "") -> Layer:
    """A layer that is the file itself, as artifacts have them."""
    content = Content.of_file(path)
    digest, found = content.digests()
    return Layer(content, media_type, digest, {TITLE: title} if title else {}, found)


def bytes_layer(content: bytes, media_type: str, title: str = "") -> Layer:
    """The same of something small."""
    pieces = Content((content,))
    return Layer(pieces, media_type, pieces.digests()[0], {TITLE: title} if title else {})


def _pieces(files: Mapping[str, Path]) -> Iterator[Piece]:
    names = {PurePosixPath(name).as_posix(): path for name, path in files.items()}
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
    for name in sorted({*names, *folders}):
        if name in folders:
            yield _header(name, tarfile.DIRTYPE, 0o755, 0)
            continue
        size = names[name].stat().st_size
        yield _header(name, tarfile.REGTYPE, 0o644, size)
        yield Part(names[name], size)
        yield bytes(-size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, kind: bytes, mode: int, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size = kind, mode, size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
