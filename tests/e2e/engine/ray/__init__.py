"""Stands where Ray would: asks the head how many nodes have joined."""

from __future__ import annotations

import os
import socket
from typing import Any


def init(address: str = "") -> None:
    """Nothing to be joined: the head is asked directly."""


def nodes() -> list[dict[str, Any]]:
    host, _, port = os.environ["RAY_ADDRESS"].partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as head:
        head.sendall(b"count\n")
        count = int(head.makefile().readline())
    return [{"Alive": True}] * count
