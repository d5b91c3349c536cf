"""Downloads from a server on the loopback address."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localcluster.download import DownloadError, fetch
from localcluster.tools import Release

pytestmark = pytest.mark.integration

PROGRAM = b"#!/bin/sh\necho hello\n"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None: ...


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory and the address that it is served at."""
    root = tmp_path / "site"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield root, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def _publish(root: Path, name: str, content: bytes, told: str = "") -> None:
    (root / name).write_bytes(content)
    checksum = told or hashlib.sha256(content).hexdigest()
    (root / f"{name}.sha256").write_text(f"{checksum}  {name}\n")


def test_a_verified_program_is_ready_to_run(site: tuple[Path, str], tmp_path: Path) -> None:
    root, url = site
    _publish(root, "kubectl", PROGRAM)
    target = tmp_path / "kubectl"
    fetch(Release(f"{url}/kubectl", f"{url}/kubectl.sha256"), target, set())
    assert target.read_bytes() == PROGRAM
    assert target.stat().st_mode & 0o111


def test_the_program_is_taken_out_of_its_archive(site: tuple[Path, str], tmp_path: Path) -> None:
    root, url = site
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("linux-amd64/helm")
        member.size = len(PROGRAM)
        tar.addfile(member, io.BytesIO(PROGRAM))
    _publish(root, "helm.tar.gz", archive.getvalue())
    release = Release(f"{url}/helm.tar.gz", f"{url}/helm.tar.gz.sha256", "linux-amd64/helm")
    fetch(release, tmp_path / "helm", set())
    assert (tmp_path / "helm").read_bytes() == PROGRAM


def test_another_content_than_published_is_refused(site: tuple[Path, str], tmp_path: Path) -> None:
    root, url = site
    _publish(root, "etcd", PROGRAM, told="0" * 64)
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch(Release(f"{url}/etcd", f"{url}/etcd.sha256"), tmp_path / "etcd", set())
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_release_that_is_not_there_is_refused(site: tuple[Path, str], tmp_path: Path) -> None:
    _root, url = site
    with pytest.raises(DownloadError, match="404"):
        fetch(Release(f"{url}/etcd", f"{url}/etcd.sha256"), tmp_path / "etcd", set())


def test_a_closed_port_is_told_at_once_and_remembered(tmp_path: Path) -> None:
    unreachable: set[str] = set()
    release = Release("http://127.0.0.1:1/etcd", "http://127.0.0.1:1/etcd.sha256")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 is not reachable"):
        fetch(release, tmp_path / "etcd", unreachable)
    assert unreachable == {"127.0.0.1"}
