"""`ray start`: the head counts who is connected; a worker stays until the head is gone."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import socketserver
import sys
import threading

_joined = {"head"}
_lock = threading.Lock()


class Member(socketserver.StreamRequestHandler):
    """A connection: one that asks for the count, or a worker for as long as it holds."""

    def handle(self) -> None:
        if self.rfile.readline().strip() == b"count":
            self.wfile.write(f"{len(_joined)}\n".encode())
            return
        with _lock:
            _joined.add(str(self.client_address))
        self.rfile.read()
        with _lock:
            _joined.discard(str(self.client_address))


class Head(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["start"])
    parser.add_argument("--head", action="store_true")
    parser.add_argument("--port", type=int)
    parser.add_argument("--address")
    parser.add_argument("--block", action="store_true")
    parser.add_argument("--disable-usage-stats", action="store_true")
    args, _ = parser.parse_known_args()
    if args.head:
        return _lead(args.port)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # as process 1 it would be ignored
    host, _, port = args.address.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10) as head:
            head.sendall(b"join\n")
            head.settimeout(None)
            head.recv(1)
    except OSError as error:
        print(f"ray: {error}", file=sys.stderr)
    return 1


def _lead(port: int) -> int:
    """Listen first, then leave the foreground, as `ray start --head` does."""
    head = Head(("", port), Member)
    if os.fork():
        return 0
    os.setsid()
    head.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
