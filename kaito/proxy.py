"""A Service of the cluster, asked through the API server: works wherever kubectl works."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kube.clock import Clock
from kube.config import Endpoint
from kube.transport import Transport

_SILENCE = 120.0
"""Seconds without a byte: a long prompt is thought about before the first word."""


class Service:
    """HTTP below `path`, the API server's proxy to it. `key` is the Service's own API key."""

    def __init__(self, transport: Transport, path: str, key: str = "") -> None:
        self._transport = transport
        self._path = path
        # The API server keeps Authorization for itself and passes this one on.
        self._headers: Mapping[str, str] = {"X-Api-Key": key} if key else {}

    async def json(self, path: str) -> Any:
        """The document under `path`. KubeError where either server refuses."""
        async with self._transport.stream(
            "GET", self._path + path, headers=self._headers
        ) as response:
            return json.loads(await response.read())

    async def lines(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        """What a POST is answered with, line by line, as it comes."""
        async with self._transport.stream(
            "POST", self._path + path, body=body, headers=self._headers, silence=_SILENCE
        ) as response:
            async for line in response.content:
                yield line.strip()


@asynccontextmanager
async def service(endpoint: Endpoint, path: str, key: str = "") -> AsyncIterator[Service]:
    """One Service, asked for as long as the block lasts."""
    transport = Transport(endpoint, user_agent="kaito", clock=Clock(), patience=0.0)
    try:
        yield Service(transport, path, key)
    finally:
        await transport.close()
