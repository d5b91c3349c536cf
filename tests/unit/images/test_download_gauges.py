"""KAITO's two gauges of a download, while the engine's port is free."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from serving.weights.gauges import Gauges

from apis import container
from oci.progress import Moved

SPEED = "kaito_model_download_speed_bytes_per_second"
LEFT = "kaito_model_download_remaining_seconds"


def asked(gauges: Gauges, path: str = "/metrics") -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{gauges.port}{path}", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_a_download_is_told_of_while_it_lasts(tmp_path: Path) -> None:
    gauges = Gauges(tmp_path, port=0)
    gauges.watch(Moved(0, 1000))
    assert asked(gauges) == {SPEED: 0.0, LEFT: -1.0}
    gauges.watch(Moved(500, 1000, rate=50.0))
    assert asked(gauges) == {SPEED: 50.0, LEFT: 10.0}
    with pytest.raises(urllib.error.HTTPError, match="404"):
        asked(gauges, "/health")


def test_how_long_it_took_lies_with_the_weights(tmp_path: Path) -> None:
    gauges = Gauges(tmp_path, port=0)
    gauges.done()
    assert list(tmp_path.iterdir()) == []
    gauges.watch(Moved(1000, 1000))
    gauges.done()
    assert float((tmp_path / container.DOWNLOAD_SECONDS_FILE).read_text()) >= 0


def test_a_port_that_is_taken_holds_no_download_up(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        gauges = Gauges(tmp_path, port=taken.getsockname()[1])
        gauges.watch(Moved(0, 1000))
        gauges.done()
    assert (tmp_path / container.DOWNLOAD_SECONDS_FILE).exists()
