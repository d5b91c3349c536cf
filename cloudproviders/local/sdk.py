"""The machines API of the local cluster: the only HTTP of this provider, and its only retry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import aiohttp
import msgspec

from cloudproviders.errors import CloudUnavailableError
from cloudproviders.local.errors import error
from kube.clock import Clock
from kube.meta import Manifest

ATTEMPTS = 3
"""Tries of a call on a connection that breaks; every verb of the API is idempotent."""

PAUSE_SECONDS = 0.2
TIMEOUT = aiohttp.ClientTimeout(total=10)


class Machine(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A machine as the API tells it. `state` is Booting, Running, Deleting or Failed."""

    name: str
    uid: str
    instance_type: str
    provider_id: str = msgspec.field(name="providerID")
    state: str
    message: str = ""
    zone: str = ""
    image: str = ""
    created: datetime | None = None
    labels: dict[str, str] = {}


class _Error(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class MachinesClient:
    """`token` is asked for on every call, so that a token file may be rotated.

    Raises the refusals of `cloudproviders.local.errors`, and CloudUnavailableError where there
    was no answer.
    """

    def __init__(self, url: str, token: Callable[[], str], clock: Clock | None = None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._clock = clock or Clock()
        self._opened: aiohttp.ClientSession | None = None

    async def put(self, name: str, machine: Manifest) -> Machine:
        """The machine of that name and uid, made now or before."""
        return _MACHINE.decode(await self._call("PUT", f"/v1/machines/{name}", machine))

    async def get(self, name: str) -> Machine:
        return _MACHINE.decode(await self._call("GET", f"/v1/machines/{name}"))

    async def list(self) -> list[Machine]:
        return _MACHINES.decode(await self._call("GET", "/v1/machines"))

    async def delete(self, name: str) -> None:
        await self._call("DELETE", f"/v1/machines/{name}")

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def _call(self, method: str, path: str, body: Manifest | None = None) -> bytes:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(method, path, body)
            except (aiohttp.ClientError, TimeoutError) as failed:
                if attempt == ATTEMPTS:
                    raise CloudUnavailableError(
                        f"machines API: {method} {path}: {type(failed).__name__}: {failed}"
                    ) from failed
            await self._clock.sleep(PAUSE_SECONDS * attempt)
        raise AssertionError("unreachable")

    async def _once(self, method: str, path: str, body: Manifest | None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token()}"}
        async with self._session().request(
            method, self._url + path, json=body, headers=headers
        ) as response:
            content = await response.read()
            if response.status < 400:
                return content
            told = _error(content)
            raise error(
                response.status,
                told.code,
                told.message or str(response.reason),
                instance_type=body["instanceType"] if body else "",
            )

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(timeout=TIMEOUT)
        return self._opened


_MACHINE: msgspec.json.Decoder[Machine] = msgspec.json.Decoder(Machine)
_MACHINES: msgspec.json.Decoder[list[Machine]] = msgspec.json.Decoder(list[Machine])


def _error(content: bytes) -> _Error:
    try:
        return msgspec.json.decode(content, type=_Error)
    except msgspec.DecodeError:
        return _Error()
