"""Servers of files on this machine that count what they give away."""

from __future__ import annotations

import gzip
import io
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

Answer: TypeAlias = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


class Downloads:
    """What all have in common: files, how often each was asked for, and what goes wrong."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        """GET requests by path, without the query."""
        self.headers: dict[str, list[dict[str, str]]] = {}
        self.url = ""
        self.port = 0
        self.did: Counter[str] = Counter()
        """Other requests by method and path, as `PUT /v2/…`."""
        self.cut: dict[str, int] = {}
        """Path → after how many bytes the connection ends, once."""
        self.busy: Counter[str] = Counter()
        """Path → how many times it answers 503."""
        self.gate = threading.Event()
        """Files wait for it."""
        self.gate.set()

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> Answer:
        raise NotImplementedError

    def receive(
        self,
        method: str,
        path: str,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        """What is no GET; most servers of files take nothing."""
        return 405, {}, b""

    @contextmanager
    def running(self, address: str = "127.0.0.1") -> Iterator[Downloads]:
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _serve(world, self)

            def _other(self) -> None:
                _take(world, self)

            do_HEAD = do_POST = do_PUT = _other  # noqa: N815
            do_PATCH = do_DELETE = _other  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer((address, 0), Handler)
        server.daemon_threads = True
        self.port = server.server_port
        self.url = f"http://{address}:{self.port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.gate.set()
            server.shutdown()
            thread.join()
            server.server_close()


class Files(Downloads):
    """Files by their paths, for everybody."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__()
        self.files = dict(files)

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> Answer:
        self.gate.wait()
        found = self.files.get(path)
        return (404, {}, b"") if found is None else (200, {}, found)


def layer(files: Mapping[str, bytes | str], *, zipped: bool = True) -> bytes:
    """A tar of files; a text is where a link leads to."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue()) if zipped else raw.getvalue()


def _serve(world: Downloads, handler: BaseHTTPRequestHandler) -> None:
    parts = urlsplit(handler.path)
    path, headers = parts.path, dict(handler.headers.items())
    world.asked[path] += 1
    world.headers.setdefault(path, []).append(headers)
    if world.busy[path]:
        world.busy[path] -= 1
        handler.send_error(503)
        return
    status, more, body = world.answer(path, parse_qs(parts.query), headers)
    if status == 200 and "Range" in headers:
        start, _, last = headers["Range"].removeprefix("bytes=").partition("-")
        status, body = 206, body[int(start) : int(last) + 1 if last else None]
    handler.send_response(status)
    for name, value in {**more, "Content-Length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    cut = world.cut.pop(path, None) if status in (200, 206) else None
    handler.wfile.write(body if cut is None else body[:cut])


def _take(world: Downloads, handler: BaseHTTPRequestHandler) -> None:
    """A request that may bring something; where it is cut, nobody answers it."""
    parts = urlsplit(handler.path)
    path, headers = parts.path, dict(handler.headers.items())
    world.did[f"{handler.command} {path}"] += 1
    length = int(headers.get("Content-Length", "0"))
    if (cut := world.cut.pop(f"{handler.command} {path}", None)) is not None:
        handler.rfile.read(min(cut, length))
        handler.close_connection = True
        return
    body = handler.rfile.read(length)
    if world.busy[f"{handler.command} {path}"]:
        world.busy[f"{handler.command} {path}"] -= 1
        handler.send_error(503)
        return
    query = parse_qs(parts.query)
    status, more, said = world.receive(handler.command, path, query, headers, body)
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(said)), **more}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(said)
