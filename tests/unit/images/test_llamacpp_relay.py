"""llama.cpp's relay as clients meet it, on plain sockets: refusals, addresses, idle connections."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving.front.keys import Keys
from serving.llamacpp import connections, relay

BODY = 5 << 20


def free_port(family: socket.AddressFamily = socket.AF_INET) -> int:
    with socket.socket(family) as probe:
        probe.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a").write_text("right")
    return Keys(tmp_path / "keys")


@pytest.fixture
def port(tmp_path: Path, keys: Keys) -> int:
    """Of a relay that asks for a key, before a server that does not answer."""
    found = free_port()
    relay.start("127.0.0.1", found, tmp_path / "nobody.sock", (), keys)
    return found


@contextlib.contextmanager
def connected(host: str, port: int) -> Iterator[socket.socket]:
    with socket.create_connection((host, port), timeout=10) as client:
        yield client


def head(*lines: str, path: str = "/v1/chat/completions") -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: a", *lines, "", "")).encode()


def answered(client: socket.socket) -> bytes:
    found = b""
    while piece := client.recv(1 << 16):
        found += piece
    return found


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ((f"Content-Length: {BODY}", "Authorization: Bearer wrong"), 401),
        ((f"Content-Length: {200 << 20}", "Authorization: Bearer right"), 413),
        (("Content-Length: many", "Authorization: Bearer right"), 413),
    ],
)
def test_a_client_that_still_sends_sees_why_it_is_refused(
    port: int, told: tuple[str, ...], status: int
) -> None:
    with connected("127.0.0.1", port) as client:
        client.sendall(head(*told))
        client.sendall(b"x" * BODY)
        client.shutdown(socket.SHUT_WR)
        answer = answered(client)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.endswith(b"}")


def test_a_client_that_never_ends_is_left(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_LINGER_SECONDS", 0.3)
    with connected("127.0.0.1", port) as client:
        client.sendall(head(f"Content-Length: {BODY}"))
        assert answered(client).startswith(b"HTTP/1.1 401 ")
        with pytest.raises(ConnectionError):
            _send_for(5, client)


def _send_for(seconds: float, client: socket.socket) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.sendall(b"x")
        time.sleep(0.02)


@pytest.mark.parametrize("asked", ["127.0.0.1", "::1"])
def test_all_addresses_of_both_families(tmp_path: Path, keys: Keys, asked: str) -> None:
    found = free_port(socket.AF_INET6)
    relay.start("::", found, tmp_path / "nobody.sock", (), keys)
    with connected(asked, found) as client:
        client.sendall(head())
        assert answered(client).startswith(b"HTTP/1.1 401 ")


def test_a_connection_that_was_opened_for_later_does_not_hold_up_the_end(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relay._Handler.timeout == 5.0
    monkeypatch.setattr(relay._Handler, "timeout", 0.3)
    with connected("127.0.0.1", port):
        begun = time.monotonic()
        assert connections.drain(port, 9.0)
        assert time.monotonic() - begun < 5


def test_a_head_that_has_begun_may_take_its_time(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay._Handler, "timeout", 0.3)
    with connected("127.0.0.1", port) as client:
        first, rest = head()[:4], head()[4:]
        client.sendall(first)
        client.settimeout(0.6)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        client.sendall(rest)
        assert answered(client).startswith(b"HTTP/1.1 401 ")
