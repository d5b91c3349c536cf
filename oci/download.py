"""Files by digest: fetched where they lack, gone on with where they were left, and verified."""

from __future__ import annotations

import hashlib
import http.client
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any

from oci import space
from oci.errors import TransferError
from oci.progress import Progress, Watch, unwatched
from oci.web import PassingError, RefusedError, Web

AT_ONCE = 8
"""Files; one connection each."""
_CHUNK = 1 << 20
_CLOSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True)
class Blob:
    """A file as its server knows it."""

    name: str
    url: str
    size: int
    digest: str
    """`sha256:…`, or `git:…`, the SHA-1 that git gives a file."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    renewed: Callable[[Message, Mapping[str, str]], Mapping[str, str] | None] | None = None
    """What to show in place of headers that were refused, as tokens end before long downloads
    do; None where nothing is left to show."""

    @property
    def key(self) -> str:
        """Its name on disk."""
        return self.digest.partition(":")[2]


def fetch(
    blobs: Iterable[Blob],
    directory: Path,
    web: Web,
    watch: Watch = unwatched,
    *,
    beside: int = 0,
    what: str = "the files",
    remedy: str = "make room on it",
) -> None:
    """All of them as files of `directory`, named by their keys. TransferError where one cannot be
    had, or, before the first byte, where the disk is too small for what is not there yet and
    `beside` bytes (`what` and `remedy` are for that sentence). What was loaded before an error
    stays for the next try."""
    wanted = {blob.key: blob for blob in blobs}
    missing = [blob for key, blob in wanted.items() if not (directory / key).exists()]
    if not missing:
        return
    loaded = sum(_size(_partial(directory, blob)) for blob in missing)
    total = sum(blob.size for blob in missing)
    space.check(directory, total - loaded + beside, what=what, remedy=remedy)
    with Progress(total, loaded, watch) as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        # The largest first, or the last one of them would be loaded alone.
        order = sorted(missing, key=lambda blob: -blob.size)
        jobs = [pool.submit(_fetch, blob, directory, web, progress) for blob in order]
        ended, others = wait(jobs, return_when=FIRST_EXCEPTION)
        progress.stop.set()
        for job in others:
            job.cancel()
        for job in ended:
            job.result()


def _fetch(blob: Blob, directory: Path, web: Web, progress: Progress) -> None:
    target, partial = directory / blob.key, _partial(directory, blob)
    for again in (True, False):
        web.persist(lambda: _append(blob, partial, web, progress), progress=lambda: _size(partial))
        if _digest(blob, partial) == blob.key:
            os.replace(partial, target)
            return
        progress.add(-_size(partial))
        partial.unlink()
        if not again:
            raise TransferError(f"{blob.name} arrives damaged: it is not {blob.digest}")


def _append(blob: Blob, partial: Path, web: Web, progress: Progress) -> None:
    """What is not there yet. A server that cannot start in the middle begins anew."""
    have = _size(partial)
    if have > blob.size:
        partial.unlink()
        progress.add(-have)
        have = 0
    if have == blob.size and partial.exists():
        return
    with _open(blob, web, {"Range": f"bytes={have}-"} if have else {}) as answer:
        resumed = answer.status == HTTPStatus.PARTIAL_CONTENT
        if have and not resumed:
            progress.add(-have)
        with partial.open("ab" if resumed else "wb") as file:
            _copy(answer, file, progress, blob.size - (have if resumed else 0))
    if _size(partial) < blob.size:
        raise PassingError(f"{blob.name}: the connection ended early")


def _open(blob: Blob, web: Web, span: Mapping[str, str]) -> Any:
    shown = blob.headers
    while True:
        try:
            return web.open(blob.url, {**shown, **span})
        except RefusedError as error:
            further = None
            if blob.renewed is not None and error.status in _CLOSED:
                further = blob.renewed(error.headers, shown)
            if further is None:
                message = f"{blob.name} cannot be loaded: {error}"
                raise RefusedError(message, error.status, error.headers) from error
            shown = further


def _copy(answer: Any, file: Any, progress: Progress, left: int) -> None:
    """At most a byte more than is wanted, by which the file is then seen to be another."""
    while left >= 0:
        if progress.stop.is_set():
            raise TransferError("another file could not be loaded")
        try:
            chunk = answer.read(min(_CHUNK, left + 1))
        except (OSError, http.client.HTTPException) as error:
            raise PassingError(str(error) or type(error).__name__) from error
        if not chunk:
            return
        file.write(chunk)
        progress.add(len(chunk))
        left -= len(chunk)


def _digest(blob: Blob, path: Path) -> str:
    if blob.digest.startswith("git:"):
        found = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _partial(directory: Path, blob: Blob) -> Path:
    return directory / f"{blob.key}.incomplete"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
