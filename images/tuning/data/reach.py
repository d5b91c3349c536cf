"""Where a download may go: never to what a cloud tells its machines, nor, by a redirect or a name,
to where the user's own address does not lead. Judged before anything is sent."""

from __future__ import annotations

import http.client
import ipaddress
from typing import Any, TypeAlias
from urllib import request
from urllib.parse import urlsplit

from oci.errors import TransferError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_INNER_NAMES = ("localhost", "metadata.google.internal", "instance-data.ec2.internal")
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)
"""Of AWS over IPv6, Alibaba, Azure and Oracle; all others' are link-local."""


def shown(url: str) -> str:
    """Without user, password and query, which are secrets often enough."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def refused_redirect(asked: str, answered: str) -> str:
    """Why the second address is not gone on to from the first, or nothing."""
    if urlsplit(asked).scheme == "https" and urlsplit(answered).scheme != "https":
        return f"leads on to {shown(answered)}, which is not encrypted"
    if is_inner(answered) and not is_inner(asked):
        return f"leads on to {shown(answered)}, which is in the cluster's own network"
    return refused_peer(asked, _host(answered))


def refused_peer(asked: str, peer: str) -> str:
    """The same of the machine that a name stands for. Private networks have names of their own,
    and are reached; what answers on loopback is asked for in so many words, or not at all."""
    address = _address(peer)
    if address is None:
        return ""
    if address.is_link_local or address in _METADATA:
        return f"leads to {address}, where a cloud tells its machines their secrets"
    if address.is_loopback and not is_inner(asked):
        return f"leads to {address}, which is the pod itself"
    return ""


def is_inner(url: str) -> bool:
    """Whether the address itself says that it is no public one."""
    host = _host(url)
    if host in _INNER_NAMES or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (
        address.is_loopback or address.is_private or address.is_link_local
    )


def guards(asked: str) -> tuple[request.BaseHandler, ...]:
    """For a `Web` that fetches this URL. They raise TransferError."""
    return _Redirects(asked), _Plain(asked), _Encrypted(asked)


class _Redirects(request.BaseHandler):
    """Sees every request before it is sent, those of redirects too."""

    def __init__(self, asked: str) -> None:
        self._asked = asked

    def http_request(self, wanted: request.Request) -> request.Request:
        _refuse(self._asked, refused_redirect(self._asked, wanted.full_url))
        return wanted

    https_request = http_request


class _Plain(request.HTTPHandler):
    def __init__(self, asked: str) -> None:
        super().__init__()
        self._asked = asked

    def http_open(self, wanted: request.Request) -> http.client.HTTPResponse:
        if _goes_by_a_proxy(wanted):
            return super().http_open(wanted)
        asked = self._asked

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                _judge(self, asked)

        return self.do_open(Connection, wanted)


class _Encrypted(request.HTTPSHandler):
    def __init__(self, asked: str) -> None:
        super().__init__()
        self._asked = asked

    def https_open(self, wanted: request.Request) -> http.client.HTTPResponse:
        if _goes_by_a_proxy(wanted):
            return super().https_open(wanted)
        asked = self._asked

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                _judge(self, asked)

        return self.do_open(Connection, wanted)


def _judge(connection: http.client.HTTPConnection, asked: str) -> None:
    """By the machine that was reached, since a name may be resolved differently each time."""
    peer: Any = connection.sock.getpeername()[0]
    if why := refused_peer(asked, str(peer)):
        connection.close()
        _refuse(asked, why)


def _refuse(asked: str, why: str) -> None:
    if why:
        raise TransferError(f"{shown(asked)} {why}")


def _goes_by_a_proxy(wanted: request.Request) -> bool:
    """It resolves the names then."""
    return wanted.host != urlsplit(wanted.full_url).netloc


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")


def _address(host: str) -> Address | None:
    try:
        found = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
