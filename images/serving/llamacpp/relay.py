"""Requests may name an adapter as their `model`; llama.cpp's server wants its number.

Only where there are adapters, this stands before that server, which then listens on a socket of
the file system. A request's head and body are read and sent on, changed where it names an
adapter; of the answer the bytes are handed on as they come. A connection carries one request.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from serving.llamacpp import selection
from serving.llamacpp.files import Adapter

_LARGEST_BODY = 100 << 20
"""Bytes; more than any context holds, images included."""
_HEAD_SECONDS = 60.0
"""Without a word from the client while it still asks."""
_PIECE = 1 << 16


def start(host: str, port: int, upstream: Path, adapters: Sequence[Adapter]) -> None:
    """Listen, on threads of its own that end with the process. OSError where the port is taken."""

    class Handler(_Handler):
        server_socket, known = upstream, tuple(adapters)

    server = _Server((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="relay", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def server_bind(self) -> None:
        # The standard library's asks for the host's full name, which may take seconds. A container
        # that starts again finds connections of the one before.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), 0


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


class _TooLargeError(Exception):
    """The body has more bytes than are taken."""


class _Handler(BaseHTTPRequestHandler):
    """Of one connection, which is closed after its answer."""

    protocol_version = "HTTP/1.1"
    timeout = _HEAD_SECONDS
    disable_nagle_algorithm = True
    server_socket: Path
    known: tuple[Adapter, ...]

    def handle(self) -> None:
        # Of clients that go away; the rest is for socketserver to print.
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def do_GET(self) -> None:
        self._forward()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        """llama.cpp logs no request either."""

    def _forward(self) -> None:
        self.close_connection = True
        path = self.path.partition("?")[0]
        if (self.command, path) == selection.FORBIDDEN:
            self._answer(403, {"error": {"message": "name an adapter as `model` in the request"}})
            return
        try:
            body = self._body()
        except (_TooLargeError, ValueError):
            self._answer(413, {"error": {"message": "the body is too large, or of unknown length"}})
            return
        if self.command == "POST":
            body = selection.selected(body, self.known)
        with contextlib.closing(_Connection(self.server_socket)) as upstream:
            self._ask(upstream, body)
            if self.command == "GET" and path in selection.MODELS:
                self._models(upstream)
            else:
                self._hand_on(upstream.sock)

    def _ask(self, upstream: _Connection, body: bytes) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        dropped = ("connection", "keep-alive", "content-length", "transfer-encoding", "expect")
        for name, value in self.headers.items():
            if name.lower() not in dropped:
                upstream.putheader(name, value)
        upstream.putheader("Connection", "close")
        if body or self.command in ("POST", "PUT", "PATCH"):
            upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders(body)

    def _body(self) -> bytes:
        """ValueError where its length is no number."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _LARGEST_BODY:
            raise _TooLargeError
        found = self.rfile.read(length)
        if len(found) < length:
            raise ConnectionAbortedError
        return found

    def _chunks(self) -> bytes:
        found = bytearray()
        while size := int(self.rfile.readline(_PIECE).partition(b";")[0], 16):
            if size < 0 or len(found) + size > _LARGEST_BODY:
                raise _TooLargeError
            found += self.rfile.read(size)
            self.rfile.readline(_PIECE)
        while self.rfile.readline(_PIECE).strip():  # trailers
            pass
        return bytes(found)

    def _hand_on(self, upstream: socket.socket) -> None:
        """Until the answer ends. A client that goes away ends the work on it."""
        self.connection.settimeout(None)
        waiting = select.poll()
        waiting.register(upstream, select.POLLIN)
        waiting.register(self.connection, select.POLLRDHUP)
        while True:
            ready = {file for file, _ in waiting.poll()}
            if self.connection.fileno() in ready:
                return
            piece = upstream.recv(_PIECE)
            if not piece:
                return
            self.connection.sendall(piece)

    def _models(self, upstream: _Connection) -> None:
        answer = upstream.getresponse()
        document = json.loads(answer.read())
        if answer.status == http.client.OK:
            document = selection.listed(document, self.known)
        self._answer(answer.status, document)

    def _answer(self, status: int, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
