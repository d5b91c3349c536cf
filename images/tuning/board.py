"""How far the fine-tuning is: lines in the log, and the same as metrics for Prometheus."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from apis import container, reports

EVERY_SECONDS = 5.0
"""Between two lines of the same stage."""
STAGES = (
    reports.LOAD,
    reports.PREPARE,
    reports.EVALUATE,
    reports.TRAIN,
    reports.PUSH,
)


class Board:
    """What is known now. A silent one (of a rank that does not lead) keeps it to itself."""

    def __init__(self, *, silent: bool = False) -> None:
        self.training = reports.Training(step=0, steps=0)
        self._silent = silent
        self._said = -math.inf
        self._metrics = Metrics()

    def stage(self, name: str, message: str = "") -> None:
        self._metrics.stage(name)
        self._say(reports.Stage(stage=name, message=message))
        self._said = -math.inf

    def note(self, text: str) -> None:
        """A sentence for who reads the log."""
        if not self._silent:
            print(f"tuning: {text}", flush=True)

    def evaluated(self, done: int, total: int) -> None:
        """Rows of the held-out data."""
        if time.monotonic() - self._said >= EVERY_SECONDS:
            self._said = time.monotonic()
            self._say(
                reports.Stage(stage=reports.EVALUATE, done=done, total=total, unit="examples")
            )

    def update(self, *, now: bool = False, **changes: Any) -> None:
        """Say it if enough time has passed, or at once."""
        self.training = replace(
            self.training, **{name: _finite(value) for name, value in changes.items()}
        )
        self._metrics.training(self.training)
        if now or time.monotonic() - self._said >= EVERY_SECONDS:
            self._said = time.monotonic()
            self._say(self.training)

    def gpu_memory(self, gpu: int, held: int) -> None:
        """Bytes of the GPU that this process holds."""
        self._metrics.gpu_memory(gpu, held)

    def result(self, result: reports.Result) -> str:
        """The line, for the termination log as well."""
        self._say(result)
        return reports.line(result)

    def serve(self, port: int) -> int:
        """The port that /metrics and /health are served on, in a thread that ends with the
        program."""
        server = ThreadingHTTPServer(("", port), _handler(self._metrics.registry))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = int(server.server_address[1])
        self.note(f"metrics are on port {found}")
        return found

    def _say(self, report: reports.Stage | reports.Training | reports.Result) -> None:
        if not self._silent:
            print(reports.line(report), flush=True)


class Metrics:
    """The names of docs/workspace/tuning-image.md."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._stage = Gauge(
            "kaito_stage", "1 for what the pod is doing now", ["stage"], registry=self.registry
        )
        for name in STAGES:
            self._stage.labels(name).set(0)
        self._values = {
            field: Gauge(f"kaito_tuning_{name}", said, registry=self.registry)
            for field, (name, said) in _GAUGES.items()
        }
        self._held_out = Gauge(
            "kaito_tuning_eval_loss",
            "mean cross entropy a token of the held-out data, in nats",
            ["when"],
            registry=self.registry,
        )
        self._memory = Gauge(
            "kaito_tuning_gpu_memory_bytes",
            "GPU memory held by this process",
            ["gpu"],
            registry=self.registry,
        )

    def stage(self, name: str) -> None:
        for each in STAGES:
            self._stage.labels(each).set(each == name)

    def training(self, training: reports.Training) -> None:
        for field, gauge in self._values.items():
            if (value := getattr(training, field)) is not None:
                gauge.set(value)
        for when, value in (
            ("before", training.eval_loss_before),
            ("after", training.eval_loss),
        ):
            if value is not None:
                self._held_out.labels(when).set(value)

    def gpu_memory(self, gpu: int, held: int) -> None:
        self._memory.labels(str(gpu)).set(held)


_GAUGES = {
    "step": ("step", "optimizer steps done"),
    "steps": ("steps", "optimizer steps in all"),
    "epoch": ("epoch", "passes over the data"),
    "loss": ("loss", "mean cross entropy a token of the last steps, in nats"),
    "learning_rate": ("learning_rate", "of the last step"),
    "tokens_per_second": ("tokens_per_second", "tokens trained on"),
    "eta_seconds": ("eta_seconds", "until the last step"),
    "checkpoint_step": ("checkpoint_step", "step of the last checkpoint"),
}


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _handler(registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == container.METRICS_PATH:
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path == container.HEALTH_PATH:
                self._answer(200, "text/plain", b"ok\n")
            else:
                self._answer(404, "text/plain", b"not found\n")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not news."""

    return Handler
