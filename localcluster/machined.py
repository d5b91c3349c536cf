"""The machines API over HTTP: to the provider `local` what EC2's API is to AWS."""

from __future__ import annotations

import asyncio
import hmac
import http.client
import json
import secrets
import signal
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from localcluster.instancetypes import Faults
from localcluster.machines import RefusalError, Request
from localcluster.machineservice import MachineService
from localcluster.pki import write_private

PORT = 10700
_T = TypeVar("_T")


def ensure_token(path: Path) -> str:
    """The bearer token of the API, made at the first use."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text().strip()


def healthy(address: str) -> bool:
    """Whether a daemon answers there."""
    connection = http.client.HTTPConnection(address, PORT, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def make_app(service: MachineService, token: str) -> web.Application:
    """The API. Errors are JSON: code for programs, message for people."""
    api = _Api(service)
    app = web.Application(middlewares=[_refusals, _authentication(token)])
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/v1/machines", api.machines),
            web.get("/v1/machines/{name}", api.machine),
            web.put("/v1/machines/{name}", api.put_machine),
            web.delete("/v1/machines/{name}", api.delete_machine),
            web.get("/v1/instance-types", api.instance_types),
            web.put("/v1/instance-types/{name}", api.put_instance_type),
        ]
    )
    return app


async def serve(service: MachineService, token: str, address: str, port: int = PORT) -> None:
    """Serve until SIGTERM or SIGINT. Machines live on."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    service.recover()
    runner = web.AppRunner(make_app(service, token), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        await stopped.wait()
    finally:
        await runner.cleanup()
        await service.close()


class _Api:
    def __init__(self, service: MachineService) -> None:
        self._service = service

    async def machines(self, _request: web.Request) -> web.Response:
        return _json(self._service.list())

    async def machine(self, request: web.Request) -> web.Response:
        return _json(self._service.get(request.match_info["name"]))

    async def put_machine(self, request: web.Request) -> web.Response:
        wanted = _decode(await request.read(), Request)
        machine, new = self._service.put(request.match_info["name"], wanted)
        return _json(machine, 201 if new else 200)

    async def delete_machine(self, request: web.Request) -> web.Response:
        return _json(self._service.delete(request.match_info["name"]), 202)

    async def instance_types(self, _request: web.Request) -> web.Response:
        return _json(self._service.instance_types())

    async def put_instance_type(self, request: web.Request) -> web.Response:
        faults = _decode(await request.read(), Faults)
        return _json(self._service.change_type(request.match_info["name"], faults))


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusalError as refusal:
        return _error(refusal.status, refusal.code, refusal.message)
    except web.HTTPException as error:
        return _error(error.status, error.reason.replace(" ", ""), error.reason)


def _authentication(token: str) -> Middleware:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode()
        if request.path != "/healthz" and not hmac.compare_digest(given, expected):
            raise RefusalError(401, "Unauthorized", "the bearer token is missing or wrong")
        return await handler(request)

    return authenticate


def _decode(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise RefusalError(422, "InvalidRequest", str(error)) from error


def _json(value: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")


def _error(status: int, code: str, message: str) -> web.Response:
    body = json.dumps({"code": code, "message": message})
    return web.Response(text=body, status=status, content_type="application/json")
