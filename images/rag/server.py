"""The server itself: listens before anything is loaded, and ends without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from apis import container
from rag.health import Entrance


@dataclass(frozen=True, slots=True)
class ServerSettings:
    host: str = "0.0.0.0"
    port: int = container.PORT
    api_keys_directory: str = container.API_KEYS_DIR
    cors_origins: tuple[str, ...] = ()
    stop_delay: float = 2.0
    """Seconds after SIGTERM in which requests are still taken: whoever routes them here learns of
    the end only now."""
    drain: float = float(container.DRAIN_SECONDS)
    """Seconds that requests in work may go on after that."""
    access_log: bool = False
    log_level: str = "info"


class Server(uvicorn.Server):
    """Signals are ours: SIGTERM begins an end, and does not end the process before its files are
    closed."""

    def __init__(self, entrance: Entrance, settings: ServerSettings) -> None:
        super().__init__(
            uvicorn.Config(
                entrance,
                access_log=settings.access_log,
                log_level=settings.log_level,
                http="httptools",
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, round(settings.drain)),
                ws="none",
            )
        )
        self._entrance = entrance
        self._settings = settings
        self._ending: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self.end)
        yield

    def end(self) -> None:
        """Once is enough."""
        if self._ending is None:
            self._entrance.stopping = True
            self._entrance.health.problem = "stopping"
            self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        if self._entrance.app is not None:  # nobody was sent here yet, else
            await asyncio.sleep(self._settings.stop_delay)
        self.should_exit = True


def listen(settings: ServerSettings) -> socket.socket:
    """Raises OSError where the address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With its protocol named, or asyncio does not switch off Nagle's algorithm on what it accepts,
    # and each answer, written as head and body, waits 40 ms for the client's acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError:
        listening.close()
        raise
    return listening
