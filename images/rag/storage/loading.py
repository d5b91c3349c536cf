"""A snapshot, or what KAITO's service persisted, made into an index's file.

The file is made beside the indexes and tried out; only then it takes the old one's place.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from rag.documents import EmbeddedDocument
from rag.errors import BadRequestError, NotFoundError
from rag.storage import manifest, records, schema, snapshots, upstream
from rag.storage.directory import Directory
from rag.storage.failures import DamagedError, LaterFormatError, translated
from rag.storage.index import LocalIndex
from rag.storage.present import Present, same_model
from rag.storage.restoring import Opener


def source_of(directory: Directory, stem: str, name: str, path: str | None) -> Path:
    """What to load: the newest snapshot, or what lies where KAITO's service persists by default.
    Raises NotFoundError, BadRequestError."""
    if path is not None:
        found = directory.below(path)
        if not found.is_dir():
            raise NotFoundError(f"Path does not exist: {path}")
        return found
    if (newest := next(snapshots.newest_first(directory.snapshots / stem), None)) is not None:
        return newest
    legacy = directory.root / stem
    if stem == name and (legacy / upstream.DOCSTORE).is_file():
        return legacy
    raise NotFoundError(f"Path does not exist: {directory.snapshots / stem}")


@contextlib.contextmanager
def prepared(opener: Opener, name: str, source: Path) -> Iterator[LocalIndex]:
    """The index as it will be, its file still elsewhere; gone afterwards where nobody moved it.
    Raises BadRequestError."""
    making = opener.directory.making()
    try:
        with translated(f"{source} cannot be loaded"):
            if not (source / manifest.METADATA).is_file() and _is_upstreams(source):
                _make_of_docstore(opener, name, source, making)
            else:
                _make_of_snapshot(opener.present, source, making)
        with _as_request(source):
            index = _opened(opener, name, making)
        try:
            yield index
        finally:
            if index.database.path == making:
                index.close()
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            making.with_name(making.name + suffix).unlink(missing_ok=True)


def _is_upstreams(source: Path) -> bool:
    return (source / upstream.DOCSTORE).is_file()


def _make_of_snapshot(present: Present, source: Path, making: Path) -> None:
    snapshot = manifest.read(source)
    if not same_model(snapshot.spec, present.spec):
        raise BadRequestError(
            f"{source} was embedded by {snapshot.spec.model} in {snapshot.spec.dimension} "
            f"dimensions, this service embeds by {present.spec.model} in {present.spec.dimension}: "
            "load it with that model, or put the documents again"
        )
    if not (source / snapshot.file).is_file():
        raise BadRequestError(f"{source} has lost its file {snapshot.file}. Take another snapshot")
    shutil.copyfile(source / snapshot.file, making)
    manifest.verify(making, snapshot)


def _make_of_docstore(opener: Opener, name: str, source: Path, making: Path) -> None:
    present = opener.present
    found = upstream.read(source, present.embedded_text)
    vectors = present.embed_anew(name, found)
    embedded = [
        EmbeddedDocument(document, chunks, of)
        for (document, chunks), of in zip(found, vectors, strict=True)
    ]
    rows = [records.encode(each, present.words(each), present.spec.dimension) for each in embedded]
    words = present.analyzer.signature
    schema.make(making, name, present.spec, words, opener.directory.journal)
    with contextlib.closing(opener.database(making)) as database:
        database.own()
        database.write(rows, ())


def _opened(opener: Opener, name: str, making: Path) -> LocalIndex:
    """Under its name here, and with an identity of its own: from now on it goes its own way."""
    with contextlib.closing(opener.database(making)) as database:
        database.own()
        database.set({"name": name, "uid": secrets.token_hex(16)})
    return opener.open(making, own=True)


@contextlib.contextmanager
def _as_request(source: Path) -> Iterator[None]:
    try:
        yield
    except (DamagedError, LaterFormatError) as error:
        raise BadRequestError(f"{source} cannot be loaded: {error.detail}") from error
