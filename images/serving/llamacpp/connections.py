"""An orderly end of a server that has none: its C++ answers until it is killed.

Its listening socket is taken from it, so that new clients go elsewhere at once; what is left are
the connections of requests in work, which the kernel counts.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

_TABLES = ("tcp", "tcp6")
_ESTABLISHED = "01"
_EVERY_SECONDS = 0.05


def drain(port: int, seconds: float, tables: Path = Path("/proc/self/net")) -> bool:
    """Take no more connections, and wait for the end of those that there are.

    False where the time was not enough. A connection that is kept alive without a request counts
    as one until the server lets go of it, which is after five seconds.
    """
    _close_listeners(port)
    end = time.monotonic() + seconds
    while _connected(port, tables):
        if time.monotonic() >= end:
            return False
        time.sleep(_EVERY_SECONDS)
    return True


def _close_listeners(port: int) -> None:
    """By putting one that nobody knows in its place: cpp-httplib breaks its streams off once its
    own is closed or shut down. The kernel keeps the old one while a thread waits in accept(),
    so that one is woken."""
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = os.dup(int(name))
        except OSError:
            continue  # the listing's own
        try:
            found = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            continue  # no socket
        address = found.getsockname() if _listens(found, port) else None
        found.close()
        if address is not None:
            _replace(int(name), address)


def _replace(listener: int, address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_UNIX) as nobodys:
        nobodys.bind("")  # a name that the kernel chooses
        nobodys.listen()
        os.dup2(nobodys.fileno(), listener)
    host, port = address[:2]
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    with suppress(OSError), socket.create_connection((anywhere.get(host, host), port), timeout=1):
        pass


def _listens(found: socket.socket, port: int) -> bool:
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(accepts) and found.getsockname()[1] == port


def _connected(port: int, tables: Path) -> bool:
    """Whether a client is connected to the port, as proc(5) has it: our end is the second field,
    the state the fourth."""
    ours = f":{port:04X}"
    for name in _TABLES:
        try:
            lines = (tables / name).read_text().splitlines()[1:]
        except FileNotFoundError:
            continue  # no IPv6
        rows = (line.split() for line in lines)
        if any(row[1].endswith(ours) and row[3] == _ESTABLISHED for row in rows):
            return True
    return False
