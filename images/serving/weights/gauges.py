"""KAITO's two gauges of a download, where Prometheus asks for the engine's: its port is free until
the download is over, and the engine then has them too, at rest."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from apis import container
from oci.progress import Moved

_UNKNOWN = -1.0
"""Of the seconds left, as KAITO has it."""
_TEXT = """\
# HELP kaito_model_download_speed_bytes_per_second How fast the weights come.
# TYPE kaito_model_download_speed_bytes_per_second gauge
kaito_model_download_speed_bytes_per_second {speed}
# HELP kaito_model_download_remaining_seconds Until the weights are here; -1 where nobody knows.
# TYPE kaito_model_download_remaining_seconds gauge
kaito_model_download_remaining_seconds {left}
"""


class Gauges:
    """Served from the first `watch` on, where the port can be had; a download needs no gauges."""

    def __init__(self, weights: Path, port: int = container.PORT) -> None:
        self.port = port
        self._weights = weights
        self._text = _TEXT.format(speed=0.0, left=_UNKNOWN).encode()
        self._began: float | None = None

    def watch(self, moved: Moved) -> None:
        """How far it is now."""
        left = _UNKNOWN if moved.eta_seconds is None else moved.eta_seconds
        self._text = _TEXT.format(speed=float(moved.rate), left=float(left)).encode()
        if self._began is None:
            self._began = time.monotonic()
            self._serve()

    def done(self) -> None:
        """Leave for the engine's metrics how long it took; nothing where all was there."""
        if self._began is not None:
            seconds = time.monotonic() - self._began
            (self._weights / container.DOWNLOAD_SECONDS_FILE).write_text(f"{seconds:.1f}\n")

    def _serve(self) -> None:
        gauges = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.path.split("?")[0] == container.METRICS_PATH
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.end_headers()
                self.wfile.write(gauges._text if known else b"")

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the log tells of the download."""

        try:
            server = ThreadingHTTPServer(("", self.port), Handler)
        except OSError:
            return
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
