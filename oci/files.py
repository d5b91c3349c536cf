"""The files of an image or artifact, whichever way it holds them: as tars, one over the other, or
as layers that are files with a title."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from oci import download, unpack
from oci.download import Blob
from oci.errors import TransferError
from oci.layers import TITLE
from oci.progress import Watch, unwatched
from oci.registry import Registry
from oci.web import Web

_TITLES = ("org.cncf.model.filepath", "org.cnai.model.filepath", TITLE)
"""Annotations that name a layer's file: of the ModelPack specification, now and before, and of
ORAS."""
_PACKED = re.compile(r"application/vnd\.(cncf|cnai)\.model\..*\.tar(\+\w+)?")
_UNPACK = "io.deis.oras.content.unpack"
_BLOBS = ".blobs"


@dataclass(frozen=True, slots=True)
class Parts:
    """The layers, sorted."""

    files: tuple[Blob, ...]
    """Named by their titles: relative paths that lead nowhere else."""
    tars: tuple[Blob, ...]
    """In the order in which they lie over each other."""


def parts(registry: Registry) -> Parts:
    """What the reference holds. TransferError where a title would lead elsewhere."""
    layers = registry.layers()
    files = {_title(layer): layer for layer in layers if _is_file(layer)}
    return Parts(
        tuple(registry.pull_blob(layer, title) for title, layer in files.items()),
        tuple(registry.pull_blob(layer, "a layer") for layer in layers if not _is_file(layer)),
    )


def pull(
    registry: Registry,
    folder: Path,
    web: Web,
    watch: Watch = unwatched,
    *,
    what: str = "the files of the image",
    remedy: str = "make room on it",
) -> None:
    """All files into the folder, which is the image's root; verified. What a try that failed has
    loaded stays in it, and the next one goes on from there."""
    blobs = folder / _BLOBS
    blobs.mkdir(parents=True, exist_ok=True)
    found = parts(registry)
    room = sum(blob.size for blob in found.tars)
    wanted = [*found.files, *found.tars]
    download.fetch(wanted, blobs, web, watch, beside=room, what=what, remedy=remedy)
    unpack_all(found.tars, blobs, folder)
    for blob in found.files:
        target = folder / blob.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(blobs / blob.key, target)
    shutil.rmtree(blobs)


def unpack_all(tars: Iterable[Blob], blobs: Path, folder: Path) -> None:
    """One over the other, as a container's root would have them."""
    for blob in tars:
        unpack.unpack(blobs / blob.key, folder)
    unpack.confine(folder)


def _is_file(layer: Mapping[str, Any]) -> bool:
    """Named, and to be left as it is. ORAS calls files a tar, too, unless told another type."""
    annotations = layer.get("annotations") or {}
    packed = annotations.get(_UNPACK) == "true" or _PACKED.fullmatch(layer["mediaType"])
    return bool(_title(layer)) and not packed


def _title(layer: Mapping[str, Any]) -> str:
    annotations = layer.get("annotations") or {}
    title = next((annotations[key] for key in _TITLES if key in annotations), "")
    if PurePosixPath(title).is_absolute() or ".." in PurePosixPath(title).parts:
        raise TransferError(f"the artifact has a file that would lie elsewhere: {title}")
    return str(PurePosixPath(title)) if title else ""
