"""Requests to services that a RAGEngine names: no name of one may lead to where the cloud tells its
machines their secrets. Judged once the connection is there and before anything, the key above all,
is sent on it; admission has judged what was written, and names are resolved anew each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from oci import addresses

_CONNECTED = "connection.connect_tcp.complete"


class LeadsToMetadataError(httpx.ConnectError):
    """Nothing was sent."""


def hooks() -> Mapping[str, list[Callable[[httpx.Request], Awaitable[None]]]]:
    """`event_hooks` of an AsyncClient."""

    async def judged(request: httpx.Request) -> None:
        async def trace(event: str, told: Mapping[str, Any]) -> None:
            if event == _CONNECTED and (why := _refusal(told["return_value"])):
                await told["return_value"].aclose()
                raise LeadsToMetadataError(f"it {why}", request=request)

        request.extensions["trace"] = trace

    return {"request": [judged]}


def hooks_of_threads() -> Mapping[str, list[Callable[[httpx.Request], None]]]:
    """`event_hooks` of a Client."""

    def judged(request: httpx.Request) -> None:
        def trace(event: str, told: Mapping[str, Any]) -> None:
            if event == _CONNECTED and (why := _refusal(told["return_value"])):
                told["return_value"].close()
                raise LeadsToMetadataError(f"it {why}", request=request)

        request.extensions["trace"] = trace

    return {"request": [judged]}


def _refusal(stream: Any) -> str:
    """The pod itself may be asked: a sidecar is there, or a proxy."""
    peer = stream.get_extra_info("server_addr")
    return addresses.refused_peer("", str(peer[0]), loopback=True) if peer else ""
