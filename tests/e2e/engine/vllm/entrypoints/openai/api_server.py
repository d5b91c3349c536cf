"""Stands where vLLM's server would run: healthy after a second; tells what it was started with."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_LOADING_SECONDS = 1.0
_STARTED = time.monotonic()


class Handler(BaseHTTPRequestHandler):
    model = ""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._say(200 if time.monotonic() - _STARTED > _LOADING_SECONDS else 503, {})
        elif self.path == "/v1/models":
            self._say(200, {"data": [{"id": self.model}]})
        elif self.path == "/argv":
            self._say(200, sys.argv[1:])
        else:
            self._say(404, {})

    def _say(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    known, _ = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # as process 1 it would be ignored
    Handler.model = known.served_model_name
    ThreadingHTTPServer(("", known.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
