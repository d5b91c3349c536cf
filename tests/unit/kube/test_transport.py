"""Connections end with the transport, whatever the server does then."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kube.certificates import renewed
from kube.clock import Clock
from kube.config import Endpoint
from kube.transport import Transport

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def mute_server(folder: Path) -> Iterator[Endpoint]:
    """Accepts a watch, then never says nor hears anything: TLS's own goodbye goes unanswered."""
    issued = renewed(None, ["127.0.0.1"], datetime.now(UTC))
    (folder / "chain").write_bytes(issued.certificate.chain)
    (folder / "key").write_bytes(issued.certificate.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain", folder / "key")
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True) as connection:
            connection.recv(4096)
            connection.sendall(HEAD)
            done.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        trust = ssl.create_default_context(cadata=issued.certificate.authorities.decode())
        port = listener.getsockname()[1]
        yield Endpoint(f"https://127.0.0.1:{port}", trust)
        done.set()
        server.join()


async def watch_and_leave(transport: Transport) -> None:
    async with transport.stream("GET", "/watch", silence=5.0) as response:
        assert response.status == 200


async def be_cancelled(transport: Transport) -> None:
    """In the midst of an answer, as the requests of a killed controller are."""
    request = asyncio.create_task(transport.request("GET", "/endless"))
    await asyncio.sleep(0.2)
    request.cancel()
    await asyncio.wait([request])
    assert request.cancelled()


@pytest.mark.parametrize("use", [watch_and_leave, be_cancelled])
def test_no_connection_outlives_the_transport(
    use: Callable[[Transport], Awaitable[None]], tmp_path: Path
) -> None:
    async def run(endpoint: Endpoint) -> None:
        transport = Transport(endpoint, user_agent="test", clock=Clock(), patience=0)
        await use(transport)
        await transport.close()

    with mute_server(tmp_path) as endpoint, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(run(endpoint))
        gc.collect()

    assert [str(each.message) for each in warned] == []
