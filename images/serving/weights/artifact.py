"""Weights out of a registry: artifacts (their layers are files) and images (theirs are tars)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from serving.weights import credentials, download, unpack
from serving.weights.registry import Reference, Registry
from serving.weights.store import Store
from serving.weights.web import DownloadError, Web

_TITLES = (
    "org.cncf.model.filepath",
    "org.cnai.model.filepath",
    "org.opencontainers.image.title",
)
"""Annotations that name a layer's file: of the ModelPack specification, now and before, and of
ORAS."""
_PACKED = re.compile(r"application/vnd\.(cncf|cnai)\.model\..*\.tar(\+\w+)?")
_UNPACK = "io.deis.oras.content.unpack"
_WHAT = "all"


def load(
    reference: str,
    store: Store,
    web: Web,
    *,
    path: str = "",
    secrets: Path,
    tell: Callable[[str], None] = print,
) -> str:
    """The digest's own part, under which its files are now in the store; none is loaded twice."""
    wanted = Reference.parse(reference)
    revision = wanted.digest.partition(":")[2]
    with store.locked(tell):
        if store.is_complete(revision, _WHAT):
            tell(f"{reference} is already here")
        else:
            basic = credentials.basic(secrets, wanted.host, wanted.name)
            _load(Registry(wanted, web, basic), store, revision, web, tell)
    folder = store.snapshots / revision
    if not (folder / path).is_dir():
        names = ", ".join(sorted(each.name for each in folder.iterdir()))
        raise DownloadError(f"{reference} has no directory {path}; it has: {names}")
    return revision


def _load(
    registry: Registry, store: Store, revision: str, web: Web, tell: Callable[[str], None]
) -> None:
    folder = store.snapshots / revision
    folder.mkdir(exist_ok=True)
    layers = registry.layers()
    files = {_title(layer): layer for layer in layers if _is_file(layer)}
    tars = [layer for layer in layers if not _is_file(layer)]
    blobs = [registry.blob(layer, title) for title, layer in files.items()]
    tell(f"sha256:{revision}: {len(layers)} layers, {len(files)} of them files")
    packed = [registry.blob(layer, "a layer") for layer in tars]
    room = sum(blob.size for blob in packed)
    download.fetch([*blobs, *packed], store.blobs, web, tell, beside=room)
    for layer in tars:
        unpack.unpack(store.blobs / layer["digest"].partition(":")[2], folder)
    store.link(revision, {blob.name: blob.key for blob in blobs})
    store.finish(revision, _WHAT, _sizes(folder))
    # Only now: what is unpacked halfway is unpacked anew, and a layer may be in there twice.
    for key in {layer["digest"].partition(":")[2] for layer in tars}:
        (store.blobs / key).unlink()


def _is_file(layer: Mapping[str, Any]) -> bool:
    """Named, and to be left as it is. ORAS calls files a tar, too, unless told another type."""
    annotations = layer.get("annotations") or {}
    packed = annotations.get(_UNPACK) == "true" or _PACKED.fullmatch(layer["mediaType"])
    return bool(_title(layer)) and not packed


def _title(layer: Mapping[str, Any]) -> str:
    annotations = layer.get("annotations") or {}
    title = next((annotations[key] for key in _TITLES if key in annotations), "")
    if PurePosixPath(title).is_absolute() or ".." in PurePosixPath(title).parts:
        raise DownloadError(f"the artifact has a file that would lie elsewhere: {title}")
    return str(PurePosixPath(title)) if title else ""


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
