"""Free ports of this machine, kept in a file so that a restart finds the same ones."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path


def kept(file: Path, names: Sequence[str], address: str = "127.0.0.1") -> dict[str, int]:
    """A port for each name; chosen by the kernel at the first call."""
    try:
        ports = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        ports = {}
    if set(ports) >= set(names):
        return {name: ports[name] for name in names}
    sockets = [socket.socket() for _ in names]
    try:
        for item in sockets:
            item.bind((address, 0))
        chosen = {
            name: int(item.getsockname()[1]) for name, item in zip(names, sockets, strict=True)
        }
    finally:
        for item in sockets:
            item.close()
    file.write_text(json.dumps(chosen))
    return chosen
