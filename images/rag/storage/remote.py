"""Snapshots of all indexes in an object store.

snapshots/<time>-<writer>/metadata.json    what was there at that time; written last, read first
data/<sha256>.db                           the files, each once however many snapshots have it
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import BadRequestError, StorageError
from rag.storage import durable, manifest, names, snapshots
from rag.storage.database import Database
from rag.storage.directory import timestamp
from rag.storage.manifest import METADATA, Snapshot
from rag.storage.names import FileName

logger = logging.getLogger(__name__)

FORMAT = 1
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class RemoteSnapshot:
    key: str
    """Sorts as time goes."""
    indexes: tuple[Snapshot, ...]


class Remote:
    """Blocking. Raises StorageError."""

    def __init__(
        self, url: str, options: Mapping[str, str], *, scratch: Path, writer: str, keep: int
    ) -> None:
        """`writer` tells processes apart; `scratch` has room for the biggest index."""
        self._scratch = scratch
        self._writer = writer
        self._keep = keep
        self._last: RemoteSnapshot | None = None
        """What we know to be there."""
        self._seen: str | None = None
        """The newest when we last looked, or wrote it; None: we never looked."""
        with _translated(url):
            from obstore import store

            if url.startswith("file://"):
                Path(url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
            connect: Any = store.from_url
            self._store = connect(url, config=dict(options) or None)
        self._url = url

    def restore(self, target: Path) -> RemoteSnapshot | None:
        """The newest snapshot whose files are whole, as index files below `target`, which is there
        only if all of them are; None, and an empty folder, where there is no snapshot at all. What
        cannot be reached, or is there and damaged throughout, is an error: to begin with nothing
        would in time push the good ones out."""
        making = target.with_name(f".making-{target.name}")
        found = list(self._newest_first())
        self._seen = found[0] if found else ""
        for key in found:
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            try:
                snapshot = self._read(key)
                for each in snapshot.indexes:
                    self._download(each, making)
            except BadRequestError as error:
                logger.error("Snapshot %s of %s cannot be used: %s", key, self._url, error.detail)
                continue
            durable.move(making, target)
            self._last = snapshot
            return snapshot
        if found:
            raise StorageError(f"None of the {len(found)} snapshots in {self._url} can be used")
        return None

    def upload(self, databases: Iterable[Database]) -> RemoteSnapshot | None:
        """What is there now; None where the newest snapshot has just that."""
        known = self._known()
        with tempfile.TemporaryDirectory(prefix=".upload-", dir=self._scratch) as folder:
            taken = tuple(self._data(each, known, Path(folder)) for each in databases)
        before = self._last
        if before is not None and _content(taken) == _content(before.indexes):
            return None
        key = f"{timestamp()}-{self._writer}"
        content = {"format": FORMAT, "indexes": [each.as_json() for each in taken]}
        self._put(f"snapshots/{key}/{METADATA}", json.dumps(content).encode())
        self._last, self._seen = RemoteSnapshot(key, taken), key
        self._prune()
        return self._last

    def overtaken(self) -> str:
        """The newest snapshot, if another process wrote it after we last looked; else empty. The
        first look tells nothing: what is there then may be our predecessor's."""
        newest = next(self._newest_first(), "")
        if self._seen is None:
            self._seen = newest
        return newest if newest > self._seen and not newest.endswith(f"-{self._writer}") else ""

    def _known(self) -> dict[tuple[str, int], Snapshot]:
        if self._last is None:
            with contextlib.suppress(BadRequestError):
                if newest := next(self._newest_first(), ""):
                    self._last = self._read(newest)
        return {(each.uid, each.seq): each for each in self._last.indexes} if self._last else {}

    def _data(
        self, database: Database, known: Mapping[tuple[str, int], Snapshot], folder: Path
    ) -> Snapshot:
        header = database.header()
        there = known.get((header.uid, header.seq))
        if there is not None and there.name == header.name:
            return there
        snapshot = snapshots.copy(database, folder)
        file = folder / snapshot.file
        self._put(_data_key(snapshot.sha256), file)
        file.unlink()
        return snapshot

    def _download(self, snapshot: Snapshot, folder: Path) -> None:
        stem = names.stem(snapshot.name)
        file = folder / str(FileName.next(stem, None))
        with _translated(self._url), file.open("wb") as opened:
            for part in self._get(_data_key(snapshot.sha256)).stream(min_chunk_size=_CHUNK_BYTES):
                opened.write(part)
        manifest.verify(file, snapshot)
        durable.sync_file(file)

    def _newest_first(self) -> Iterator[str]:
        with _translated(self._url):
            listed = [each for part in self._store.list("snapshots/") for each in part]
        keys = [str(each["path"]).split("/") for each in listed]
        yield from sorted({each[1] for each in keys if each[-1] == METADATA}, reverse=True)

    def _read(self, key: str) -> RemoteSnapshot:
        """Raises BadRequestError."""
        with _translated(self._url):
            content = bytes(self._get(f"snapshots/{key}/{METADATA}").bytes())
        try:
            value = json.loads(content)
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']}, and this release reads {FORMAT}")
            return RemoteSnapshot(key, tuple(map(Snapshot.of_json, value["indexes"])))
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequestError(f"{key}/{METADATA} cannot be read: {error}") from error

    def _prune(self) -> None:
        """Data goes only where every snapshot that stays could be read."""
        every = list(self._newest_first())
        try:
            kept = {each.sha256 for key in every[: self._keep] for each in self._read(key).indexes}
        except BadRequestError as error:
            logger.warning("Nothing is pruned in %s: %s", self._url, error.detail)
            return
        with _translated(self._url):
            for key in every[self._keep :]:
                self._store.delete(f"snapshots/{key}/{METADATA}")
            listed = [str(each["path"]) for part in self._store.list("data/") for each in part]
            unused = [key for key in listed if Path(key).stem not in kept]
            if unused:
                self._store.delete(unused)

    def _get(self, key: str) -> Any:
        """Raises BadRequestError where it is not there."""
        try:
            return self._store.get(key)
        except FileNotFoundError as error:
            raise BadRequestError(f"{key} is missing") from error

    def _put(self, key: str, content: bytes | Path) -> None:
        with _translated(self._url):
            self._store.put(key, content)


def _data_key(sha256: str) -> str:
    return f"data/{sha256}.db"


def _content(indexes: Iterable[Snapshot]) -> set[tuple[str, str, int]]:
    return {(each.name, each.uid, each.seq) for each in indexes}


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise StorageError(f"Object store {url}: {error}") from error
