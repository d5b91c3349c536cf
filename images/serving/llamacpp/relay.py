"""Requests may name an adapter as their `model`; llama.cpp's server wants its number. And it knows
the API keys of its start alone.

Only where there are adapters, or keys are asked for, this stands before that server, which then
listens on a socket of the file system. A request's head and body are read and sent on, changed
where it names an adapter; of the answer the bytes are handed on as they come. A connection carries
one request. Keys are read anew once the kubelet has brought others.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from serving.front.keys import Keys
from serving.llamacpp import selection
from serving.llamacpp.files import Adapter

_LARGEST_BODY = 100 << 20
"""Bytes; more than any context holds, images included."""
_FIRST_BYTE_SECONDS = 5.0
"""For a client that has connected; browsers and pools do so for later, and the server's end waits
for every connection that there is. As long as llama.cpp's own."""
_HEAD_SECONDS = 60.0
"""Without a word from the client while it still asks."""
_LINGER_SECONDS = 5.0
"""For the body of a request that is refused. The kernel resets a connection that is closed before
it was read, and the client would see that in place of the answer."""
_PIECE = 1 << 16
_UNAUTHORIZED = {
    "error": {
        "message": "the API key is missing or wrong: send one as `Authorization: Bearer KEY`",
        "type": "invalid_request_error",
        "code": "invalid_api_key",
    }
}


def start(
    host: str, port: int, upstream: Path, adapters: Sequence[Adapter], keys: Keys | None = None
) -> None:
    """Listen, on threads of its own that end with the process. OSError where the port is taken."""

    class Handler(_Handler):
        server_socket, known, asked_keys = upstream, tuple(adapters), keys

    server = _Server((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="relay", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # The standard library's asks for the host's full name, which may take seconds. A container
        # that starts again finds connections of the one before.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.address_family == socket.AF_INET6:  # `::` is every address
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
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
    timeout = _FIRST_BYTE_SECONDS
    disable_nagle_algorithm = True
    server_socket: Path
    known: tuple[Adapter, ...]
    asked_keys: Keys | None

    def handle(self) -> None:
        # Of clients that go away; the rest is for socketserver to print.
        with contextlib.suppress(ConnectionError, TimeoutError):
            if self.connection.recv(1, socket.MSG_PEEK):
                self.connection.settimeout(_HEAD_SECONDS)
                super().handle()

    def do_GET(self) -> None:
        self._forward()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        """llama.cpp logs no request either."""

    def _forward(self) -> None:
        self.close_connection = True
        path = self.path.partition("?")[0]
        if not self._is_let_in(path):
            self._refuse(401, _UNAUTHORIZED, (("WWW-Authenticate", "Bearer"),))
            return
        if (self.command, path) == selection.FORBIDDEN:
            self._refuse(403, {"error": {"message": "name an adapter as `model` in the request"}})
            return
        try:
            body = self._body()
        except (_TooLargeError, ValueError):
            self._refuse(413, {"error": {"message": "the body is too large, or of unknown length"}})
            return
        if self.command == "POST" and self.known:
            body = selection.selected(body, self.known)
        with contextlib.closing(_Connection(self.server_socket)) as upstream:
            self._ask(upstream, body)
            if self.command == "GET" and path in selection.MODELS and self.known:
                self._models(upstream)
            else:
                self._hand_on(upstream.sock)

    def _is_let_in(self, path: str) -> bool:
        if self.asked_keys is None:
            return True
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers.items()
        ]
        return self.asked_keys.admit({"method": self.command, "headers": headers}, path)

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

    def _refuse(
        self, status: int, document: object, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Answer, and drop what is still sent of the request."""
        self._answer(status, document, headers)
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it has gone away
        end, dropped = time.monotonic() + _LINGER_SECONDS, 0
        while dropped <= _LARGEST_BODY and (left := end - time.monotonic()) > 0:
            self.connection.settimeout(left)
            piece = self.connection.recv(_PIECE)
            if not piece:
                return
            dropped += len(piece)

    def _answer(
        self, status: int, document: object, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
