"""A server that refuses everybody and repeats what it was sent, as careless services do: header
by header and body, in its words for people, where clients look for a reason."""

from __future__ import annotations

import json
import ssl
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from kube import certificates


class Nosy:
    """`status` is what it answers. With `folder`, over TLS; `ca_file` is whom to trust then."""

    def __init__(self, status: int = 403, folder: Path | None = None) -> None:
        self.asked: Counter[str] = Counter()
        self.heard: list[str] = []
        """All that it was sent."""
        self.url = ""
        self.ca_file = folder / "ca.pem" if folder else None
        self._status = status

    @contextmanager
    def running(self) -> Iterator[Nosy]:
        nosy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                sent = f"{self.headers}\n{self.rfile.read(length).decode(errors='replace')}"
                nosy.asked[self.path.partition("?")[0]] += 1
                nosy.heard.append(f"{self.path}\n{sent}")
                said = f"I do not like {self.path} {sent}"
                error = {"code": "Refused", "message": said}
                body = json.dumps({"error": error, "error_description": said, **error}).encode()
                self.send_response(nosy._status, "Refused")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self._encrypt(server)
            scheme = "https" if self.ca_file else "http"
            self.url = f"{scheme}://127.0.0.1:{server.server_port}"
            thread = Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield self
            server.shutdown()
            thread.join()

    def _encrypt(self, server: ThreadingHTTPServer) -> None:
        if self.ca_file is None:
            return
        issued = certificates.renewed(None, ["127.0.0.1"], datetime.now(UTC))
        self.ca_file.write_bytes(issued.authorities)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(issued.chain + issued.key)
            pair.flush()
            context.load_cert_chain(pair.name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
