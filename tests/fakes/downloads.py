"""Servers of files on this machine that count what they give away; an OCI registry is one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Downloads:
    """What all have in common: files, how often each was asked for, and what goes wrong."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        """GET requests by path, without the query."""
        self.headers: dict[str, list[dict[str, str]]] = {}
        self.url = ""
        self.cut: dict[str, int] = {}
        """Path → after how many bytes the connection ends, once."""
        self.busy: Counter[str] = Counter()
        """Path → how many times it answers 503."""
        self.gate = threading.Event()
        """Files wait for it."""
        self.gate.set()

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        raise NotImplementedError

    @contextmanager
    def running(self, address: str = "127.0.0.1") -> Iterator[Downloads]:
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _serve(world, self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer((address, 0), Handler)
        server.daemon_threads = True
        self.url = f"http://{address}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.gate.set()
            server.shutdown()
            thread.join()
            server.server_close()


class Registry(Downloads):
    """One repository of a registry that wants a token, which `user`, `password` can have."""

    def __init__(self, name: str = "models/falcon", user: str = "", password: str = "") -> None:
        super().__init__()
        self.name = name
        self._basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def push(self, layers: list[tuple[bytes, dict[str, str], str]], **more: Any) -> str:
        """Layers are content, annotations, media type; the reference by digest."""
        found = [
            {
                "mediaType": type_,
                "digest": self._keep(self.blobs, content),
                "size": len(content),
                "annotations": annotations,
            }
            for content, annotations, type_ in layers
        ]
        return self.reference(self.push_manifest({"schemaVersion": 2, "layers": found, **more}))

    def push_manifest(self, manifest: Mapping[str, Any]) -> str:
        return self._keep(self.manifests, json.dumps(manifest).encode())

    def reference(self, digest: str) -> str:
        return f"{self.host}/{self.name}:v1@{digest}"

    def answer(
        self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        if path == "/token":
            if self._basic and headers.get("Authorization") != f"Basic {self._basic}":
                return 401, {}, b""
            return 200, {}, json.dumps({"token": f"for {query['scope'][0]}"}).encode()
        if headers.get("Authorization") != f"Bearer for repository:{self.name}:pull":
            challenge = (
                f'Bearer realm="{self.url}/token",service="registry",'
                f'scope="repository:{self.name}:pull"'
            )
            return 401, {"WWW-Authenticate": challenge}, b""
        kind, _, digest = path.removeprefix(f"/v2/{self.name}/").partition("/")
        found = {"manifests": self.manifests, "blobs": self.blobs}.get(kind, {}).get(digest)
        return (404, {}, b"") if found is None else (200, {}, found)

    @staticmethod
    def _keep(where: dict[str, bytes], content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        where[digest] = content
        return digest


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
