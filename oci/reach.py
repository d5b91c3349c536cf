"""Connections that are judged once they are made and before anything is sent: by the machine that
was reached, since a name may be resolved differently each time."""

from __future__ import annotations

import http.client
from typing import Any
from urllib import request
from urllib.parse import urlsplit, urlunsplit

from oci import addresses
from oci.errors import TransferError


def shown(url: str) -> str:
    """Without user, password and query, which are secrets often enough, and this goes to logs."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, query="", fragment=""))


def refuse(asked: str, why: str) -> None:
    """TransferError, where there is a reason."""
    if why:
        raise TransferError(f"{shown(asked)} {why}")


class Plain(request.HTTPHandler):
    """For an opener of urllib's."""

    def http_open(self, wanted: request.Request) -> http.client.HTTPResponse:
        if _goes_by_a_proxy(wanted):
            return super().http_open(wanted)

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                _judge(self, wanted.full_url)

        return self.do_open(Connection, wanted)


class Encrypted(request.HTTPSHandler):
    """The same with TLS, whose certificate is looked at first."""

    def https_open(self, wanted: request.Request) -> http.client.HTTPResponse:
        if _goes_by_a_proxy(wanted):
            return super().https_open(wanted)

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                _judge(self, wanted.full_url)

        return self.do_open(Connection, wanted)


def _judge(connection: http.client.HTTPConnection, asked: str) -> None:
    peer: Any = connection.sock.getpeername()[0]
    if why := addresses.refused_peer(asked, str(peer)):
        connection.close()
        refuse(asked, why)


def _goes_by_a_proxy(wanted: request.Request) -> bool:
    """It resolves the names then; through a tunnel, where there is TLS. The host would not tell:
    urllib unquotes it, and `evil%2Etest` is not what stands in the URL."""
    return wanted.has_proxy() or getattr(wanted, "_tunnel_host", None) is not None
