"""Official releases, verified; and to know at once that there is no way to them."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import tarfile
import tempfile
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from localcluster.tools import Release

CONNECT_SECONDS = 3.0
"""How long a host may take to answer before the machine counts as offline."""
_CHUNK = 1 << 20


class DownloadError(Exception):
    """The release is not to be had, or is not what its checksum says."""


def fetch(release: Release, target: Path, unreachable: set[str]) -> None:
    """Put the program at `target`; raise DownloadError with one line otherwise.

    Hosts that did not answer are remembered in `unreachable`, so that each is tried once.
    """
    host = urlsplit(release.url).hostname or ""
    if host in unreachable:
        raise DownloadError(f"{host} is not reachable")
    try:
        _require_reachable(release.url)
    except OSError as error:
        unreachable.add(host)
        raise DownloadError(f"{host} is not reachable") from error
    try:
        expected = checksum(_read(release.checksum_url), release.url.rpartition("/")[2])
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as scratch:
            file = Path(scratch) / "file"
            _save(release.url, file, expected)
            program = _extract(file, release.member) if release.member else file
            program.chmod(0o755)
            program.rename(target)
    except (OSError, http.client.HTTPException, tarfile.TarError, KeyError) as error:
        raise DownloadError(f"{release.url}: {error}") from error


def _require_reachable(url: str) -> None:
    """Resolve and connect, bounded in time; a socket's time-out leaves the resolver's out."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    outcome: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    failure = outcome[0] if outcome else TimeoutError(f"no answer in {CONNECT_SECONDS} s")
    if failure is not None:
        raise failure


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - from a fixed table
        return str(response.read(1 << 16), "utf-8")


def checksum(text: str, name: str) -> str:
    """The sum of a file in any of the usual forms: bare, or lines of `sum  name`."""
    for line in text.splitlines():
        found = re.match(r"^([0-9a-fA-F]{64})(?:\s+\*?(\S+))?\s*$", line)
        if found and (found[2] is None or found[2].rpartition("/")[2] == name):
            return found[1].lower()
    raise DownloadError(f"no SHA-256 is published for {name}")


def _save(url: str, file: Path, expected: str) -> None:
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=30) as response, file.open("wb") as out:  # noqa: S310
        while chunk := response.read(_CHUNK):
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != expected:
        raise DownloadError(f"{url}: SHA-256 is {digest.hexdigest()}, published is {expected}")


def _extract(archive: Path, member: str) -> Path:
    target = archive.with_name("program")
    with tarfile.open(archive) as tar:
        source = tar.extractfile(member)
        if source is None:
            raise DownloadError(f"{member} is no file in the release")
        with source, target.open("wb") as out:
            while chunk := source.read(_CHUNK):
                out.write(chunk)
    return target
