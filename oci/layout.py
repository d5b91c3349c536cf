"""Images in a directory (OCI image layout): `blobs/sha256/…`, and an `index.json` that names them.

An image is named last, when all of it is there: what an interrupted write leaves behind are blobs
that nobody names, and that the next write takes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oci import space
from oci.content import Content
from oci.errors import NotFoundError, TransferError
from oci.image import INDEX, Packed, Stored, canonical, descriptor, digest
from oci.layers import Layer
from oci.reference import DIGEST

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation that holds a tag."""

_VERSION = {"imageLayoutVersion": "1.0.0"}


def write(
    image: Packed, directory: Path, tag: str = "", *, wrote: Callable[[int], None] = lambda _: None
) -> str:
    """The digest of the image, which the layout has now under the tag, if one is given; what had
    the tag before loses it. `wrote` is told of bytes. TransferError where the disk is too small,
    before anything is written."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    missing = {each.digest: each for each in image.blobs if not _has(blobs, each)}
    space.check(
        directory,
        sum(each.size for each in missing.values()),
        what="the layers",
        remedy="write to another disk, or push to a registry directly",
    )
    for blob in missing.values():
        _write(blobs, blob, wrote)
    found = digest(image.manifest)
    _replace(blobs / found.partition(":")[2], image.manifest)
    _replace(directory / "oci-layout", canonical(_VERSION))
    name = {REF_NAME: tag} if tag else None
    kept = [each for each in _manifests(directory) if not _displaced(each, found, tag)]
    own = descriptor(image, name)
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*kept, own]}
    _replace(directory / "index.json", canonical(index))
    return found


def read(directory: Path, tag: str = "") -> Stored:
    """The image of a tag (or digest); without one, the only one that is no other's referrer.
    NotFoundError."""
    return _stored(directory, _choose(directory, tag))


def tags(directory: Path) -> dict[str, str]:
    """Digests by tag."""
    named = ((_tag(each), str(each["digest"])) for each in _index(directory))
    return {tag: found for tag, found in named if tag}


def referrers(directory: Path, subject: str) -> list[Stored]:
    """What tells something about the manifest with that digest."""
    found = [_stored(directory, each) for each in _index(directory)]
    return [
        each
        for each in found
        if (json.loads(each.manifest).get("subject") or {}).get("digest") == subject
    ]


def _choose(directory: Path, tag: str) -> dict[str, Any]:
    index = _index(directory)
    if tag:
        named = [each for each in index if tag in (_tag(each), each["digest"])]
    else:
        named = [each for each in index if not _is_about_another(directory, each)]
    if len({each["digest"] for each in named}) == 1:
        return named[0]
    known = ", ".join(sorted(filter(None, map(_tag, index)))) or "none"
    if not named:
        raise NotFoundError(f"{directory} has no image{f' {tag}' if tag else ''}; tags: {known}")
    raise NotFoundError(f"{directory} has several images; name one of the tags: {known}")


def _is_about_another(directory: Path, entry: dict[str, Any]) -> bool:
    return bool(json.loads(_stored(directory, entry).manifest).get("subject"))


def _stored(directory: Path, entry: dict[str, Any]) -> Stored:
    blobs = directory / "blobs/sha256"
    manifest = _verified(blobs, str(entry["digest"]))
    told = json.loads(manifest)
    if "config" not in told:
        raise TransferError(f"{entry['digest']} in {directory} is no image of one platform")
    found = []
    for each in (told["config"], *told["layers"]):
        path = _path(blobs, str(each["digest"]))
        if not path.is_file() or path.stat().st_size != each["size"]:
            raise TransferError(f"{directory} is not whole: blob {each['digest']} is not there")
        content = Content.of_file(path)
        annotations = each.get("annotations") or {}
        found.append(Layer(content, each["mediaType"], each["digest"], annotations))
    return Stored(manifest, tuple(found))


def _index(directory: Path) -> list[dict[str, Any]]:
    if not (directory / "oci-layout").is_file() or not (directory / "index.json").is_file():
        raise NotFoundError(f"{directory} is no OCI image layout, or was not finished")
    return _manifests(directory)


def _manifests(directory: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads((directory / "index.json").read_text()).get("manifests")
    except FileNotFoundError:
        return []
    return list(found or ())


def _displaced(entry: dict[str, Any], found: str, tag: str) -> bool:
    """By what is written now: the same image without another tag, or another one with this."""
    return _tag(entry) == tag if tag else (entry["digest"] == found and not _tag(entry))


def _tag(entry: dict[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get(REF_NAME, ""))


def _has(blobs: Path, blob: Layer) -> bool:
    path = _path(blobs, blob.digest)
    return path.is_file() and path.stat().st_size == blob.size


def _write(blobs: Path, blob: Layer, wrote: Callable[[int], None]) -> None:
    path = _path(blobs, blob.digest)
    draft, found = path.with_name(f".{path.name}.incomplete"), hashlib.sha256()
    try:
        with draft.open("wb") as file:
            for chunk in blob.content.chunks():
                file.write(chunk)
                found.update(chunk)
                wrote(len(chunk))
        if f"sha256:{found.hexdigest()}" != blob.digest:
            raise TransferError("a file was changed while it was packed; build once more")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _verified(blobs: Path, wanted: str) -> bytes:
    try:
        found = _path(blobs, wanted).read_bytes()
    except FileNotFoundError:
        raise TransferError(f"the layout is not whole: manifest {wanted} is not there") from None
    if digest(found) != wanted:
        raise TransferError(f"the layout is damaged: {wanted} is something else")
    return found


def _path(blobs: Path, wanted: str) -> Path:
    if not DIGEST.fullmatch(wanted):
        raise TransferError(f"{wanted} is no digest that could be verified; only sha256 can")
    return blobs / wanted.partition(":")[2]


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    os.replace(new, path)
