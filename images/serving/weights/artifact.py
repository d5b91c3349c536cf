"""Weights out of a registry: artifacts (their layers are files) and images (theirs are tars)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from oci import credentials, download, files
from oci.errors import AccessDeniedError, TransferError
from oci.progress import Watch, unwatched
from oci.reference import Reference
from oci.registry import Registry
from oci.web import Web
from serving.weights import store as stores
from serving.weights.store import Store

_WHAT = "all"
_SECRETS = " (annotation kaito.sh/model-weights-pull-secrets)"


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears of it: words, and how many bytes there are."""

    tell: Callable[[str], None] = print
    watch: Watch = unwatched


def load(
    reference: str,
    store: Store,
    web: Web,
    *,
    path: str = "",
    secrets: Path,
    insecure: Collection[str] = (),
    told: Told = Told(),
) -> str:
    """The digest's own part, under which its files are now in the store; none is loaded twice.
    `insecure`: registries without TLS."""
    wanted = Reference.parse(reference, insecure)
    if not wanted.digest:
        raise TransferError(f"{reference} is no registry/name@sha256:…")
    revision = wanted.digest.partition(":")[2]
    with store.locked(told.tell):
        if store.is_complete(revision, _WHAT):
            told.tell(f"{reference} is already here")
        else:
            registry = Registry(wanted, credentials.load(secrets), web)
            try:
                _load(registry, store, revision, web, told)
            except AccessDeniedError as error:
                raise TransferError(f"{error}{_SECRETS}") from error
    folder = store.snapshots / revision
    if not (folder / path).is_dir():
        names = ", ".join(sorted(each.name for each in folder.iterdir()))
        raise TransferError(f"{reference} has no directory {path}; it has: {names}")
    return revision


def _load(registry: Registry, store: Store, revision: str, web: Web, told: Told) -> None:
    folder = store.snapshots / revision
    folder.mkdir(exist_ok=True)
    found = files.parts(registry)
    told.tell(
        f"sha256:{revision}: {len(found.files) + len(found.tars)} layers,"
        f" {len(found.files)} of them files"
    )
    download.fetch(
        [*found.files, *found.tars],
        store.blobs,
        web,
        told.watch,
        beside=sum(blob.size for blob in found.tars),
        what=stores.WHAT,
        remedy=stores.REMEDY,
    )
    files.unpack_all(found.tars, store.blobs, folder)
    store.link(revision, {blob.name: blob.key for blob in found.files})
    store.finish(revision, _WHAT, _sizes(folder))
    # Only now: what is unpacked halfway is unpacked anew, and a layer may be in there twice.
    for key in {blob.key for blob in found.tars}:
        (store.blobs / key).unlink()


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
