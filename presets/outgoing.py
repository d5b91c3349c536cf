"""The controller's requests to a hub, judged before they are sent: what the URL says, and the
machine that it leads to.

The hub is the operator's (HF_ENDPOINT); the redirects that it answers with, and where names lead
to, are not: a mirror that was taken over could lead the controller to where the cloud tells its
machines their secrets, and read the answer out of the next error.
"""

from __future__ import annotations

import socket
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from oci import addresses

AddressInfo: TypeAlias = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]
]


class RefusedAddressError(aiohttp.ClientError):
    """Nothing was sent; the message says why."""


def session(endpoint: str, proxy: str | None = None) -> aiohttp.ClientSession:
    """For what is asked of this endpoint. A proxy may be on loopback: it is the operator's."""
    loopback = _on_loopback(endpoint) or (proxy is not None and _on_loopback(_anonymous(proxy)))

    async def judged(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Every request, those of redirects too; behind a proxy there is no other sign."""
        if why := addresses.refused_redirect(endpoint, str(request.url)):
            raise RefusedAddressError(f"{endpoint} {why}")
        return await handler(request)

    def connected(found: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = found
        why = addresses.refused_peer(endpoint, str(address[0]), loopback=loopback)
        if why:
            raise RefusedAddressError(f"{endpoint} {why}")
        return socket.socket(family, kind, protocol)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=connected), middlewares=(judged,), proxy=proxy
    )


def _anonymous(proxy: str) -> str:
    """Without user and password, which a proxy may ask for and no other URL may hold."""
    parts = urlsplit(proxy)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _on_loopback(url: str) -> bool:
    try:
        return addresses.target(url).loopback
    except addresses.NoTargetError:
        return False
