"""Files from the web: gone on with where they were left, never taken for what they are not."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from oci import space
from oci.errors import TransferError
from oci.progress import Progress, Watch
from oci.reach import shown
from oci.web import PassingError, RefusedError, Web
from tuning.data.reach import guards

_CHUNK = 1 << 20
_UNFIT = re.compile(r"[/\x00-\x1f\x7f]")
"""What a file's name may not hold, or a line of a log not."""
_PAGES = ("text/html", "application/xhtml+xml")


def fetch(
    urls: Iterable[str], folder: Path, web: Web, watch: Watch, tell: Callable[[str], None]
) -> None:
    """All of them into the folder, one after the other. TransferError in one line where one cannot
    be had; what is there by then stays for the next try."""
    for url, name in names(urls).items():
        if (folder / name).exists():
            tell(f"{name} is already here")
            continue
        _File(url, name, folder, web, watch).fetch()
        tell(f"{name} from {shown(url)}: {(folder / name).stat().st_size} bytes")


def names(urls: Iterable[str]) -> dict[str, str]:
    """By URL, each once: the last part of its path; the second of one name is called `name-2.csv`.
    TransferError where one is no address of HTTP."""
    found: dict[str, str] = {}
    for url in dict.fromkeys(urls):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TransferError(f"tuning.input.urls: {shown(url)} is no address of HTTP")
        # A slash or a dot in front, hidden behind %2F or %2E, would lead elsewhere.
        last = _UNFIT.sub("_", unquote(PurePosixPath(parts.path).name)).lstrip(".")
        found[url] = _free(last or "data", set(found.values()))
    return found


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first numbered one that no other file has."""
    stem, dot, suffix = name.partition(".")
    numbered = (f"{stem}-{number}{dot}{suffix}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


class _File:
    """One download. Beside its part lies what the server called this version of the file: with
    another one, the part is worth nothing."""

    def __init__(self, url: str, name: str, folder: Path, web: Web, watch: Watch) -> None:
        self._url, self._name, self._watch = url, name, watch
        self._web = web.guarded(*guards(url))
        self._target = folder / name
        self._partial = folder / f".{name}.partial"
        self._version = folder / f".{name}.version"

    def fetch(self) -> None:
        self._web.persist(self._append, progress=self._size)
        if not self._size():
            self._partial.unlink()
            raise TransferError(f"{shown(self._url)} is empty")
        os.replace(self._partial, self._target)
        self._version.unlink(missing_ok=True)

    def _append(self) -> None:
        have, version = self._size(), self._known()
        wanted = {"Range": f"bytes={have}-", "If-Range": version} if have and version else {}
        try:
            answer = self._web.open(self._url, wanted)
        except RefusedError as error:
            if error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._partial.unlink()
                raise PassingError(f"{shown(self._url)} is shorter than it was") from error
            raise
        with answer:
            self._judge(answer)
            begun = have if self._goes_on(answer, have) else 0
            total = begun + int(answer.headers.get("Content-Length") or 0)
            space.check(
                self._target.parent, total - begun, what="the data", remedy="take a larger disk"
            )
            self._version.write_text(json.dumps(_version(answer.headers)))
            self._copy(answer, begun, total)
        if total > begun and self._size() < total:
            raise PassingError(f"{shown(self._url)}: the connection ended early")

    def _judge(self, answer: Any) -> None:
        kind = str(answer.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        if kind in _PAGES and not self._name.endswith((".html", ".htm")):
            raise TransferError(
                f"{shown(self._url)} answers with a web page, not with data: give the address of"
                " the file itself, one that needs no login"
            )

    def _goes_on(self, answer: Any, have: int) -> bool:
        said = str(answer.headers.get("Content-Range", ""))
        return answer.status == HTTPStatus.PARTIAL_CONTENT and said.startswith(f"bytes {have}-")

    def _copy(self, answer: Any, begun: int, total: int) -> None:
        with (
            Progress(total, begun, self._watch) as progress,
            self._partial.open("ab" if begun else "wb") as file,
        ):
            while True:
                try:
                    chunk = answer.read(_CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise PassingError(f"{shown(self._url)}: {error}") from error
                if not chunk:
                    return
                file.write(chunk)
                progress.add(len(chunk))

    def _size(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _known(self) -> str:
        try:
            return str(json.loads(self._version.read_text()))
        except (FileNotFoundError, ValueError):
            return ""


def _version(headers: Mapping[str, str]) -> str:
    """What If-Range takes: a strong ETag, else the date; empty where there is neither."""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
