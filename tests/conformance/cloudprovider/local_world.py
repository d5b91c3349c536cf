"""The local cluster's machines API, served in process; only the kubelets are missing."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler, Middleware

import cloudproviders
from cloudproviders.local.errors import STOCK_OUT_SECONDS
from cloudproviders.local.provider import LocalProvider
from cloudproviders.local.sdk import MachinesClient
from cloudproviders.provider import CloudProvider
from localcluster.instancetypes import InstanceType, InstanceTypes
from localcluster.machined import ensure_token, make_app
from localcluster.machines import Machine as LocalMachine
from localcluster.machines import MachineStore, RefusalError
from localcluster.machineservice import MachineService
from localcluster.processes import ProcessId
from tests.conformance.cloudprovider.world import Ability, Kind, Machine, Verb, World
from tests.fakes.clock import ImpatientClock

REMOVAL_SECONDS = 0.02
"""Of real time: so long a machine takes to go."""

_STATUS = {
    "InsufficientCapacity": 409,
    "UnknownInstanceType": 422,
    "NameInUse": 409,
    "InvalidRequest": 422,
    "Unauthorized": 401,
    "TooManyRequests": 429,
    "Internal": 500,
    "ServiceUnavailable": 503,
}
_METHODS: Mapping[Verb, str] = {"create": "PUT", "delete": "DELETE"}


class _Node:
    """A node that is always on."""

    process = ProcessId(1, 1)

    def start(self) -> None: ...
    def remove(self) -> None: ...
    def set_gpu_health(self, healthy: bool) -> None: ...


def _node_of(_machine: LocalMachine, _kind: InstanceType) -> _Node:
    return _Node()


class LocalWorld(World):
    abilities = frozenset(
        {Ability.COUNTED, Ability.REFUSALS, Ability.THROTTLING, Ability.CREDENTIALS, Ability.ZONES}
    )
    documented_codes: ClassVar[Mapping[str, Kind]] = {
        "InsufficientCapacity": Kind.CAPACITY,
        "UnknownInstanceType": Kind.CAPACITY,
        "NameInUse": Kind.CONFIGURATION,
        "InvalidRequest": Kind.CONFIGURATION,
        "Unauthorized": Kind.TRANSIENT,
        "TooManyRequests": Kind.TRANSIENT,
        "Internal": Kind.TRANSIENT,
        "ServiceUnavailable": Kind.TRANSIENT,
    }
    types = ("local-cpu-2", "local-cpu-4")
    zones = ("local-a",)
    stock_out = "InsufficientCapacity"
    memory_seconds = STOCK_OUT_SECONDS

    async def __aenter__(self) -> LocalWorld:
        self.clock = ImpatientClock()
        self._processes: list[LocalProvider] = []
        self._scratch = tempfile.TemporaryDirectory()
        folder = Path(self._scratch.name)
        self._service = MachineService(
            MachineStore(folder / "machines"), InstanceTypes(folder / "types.json"), _node_of
        )
        self._token = ensure_token(folder / "token")
        self.secrets = (self._token,)
        self._expired = self._away = False
        self._loses = ""
        self._throttled = 0
        self._refusals: list[tuple[str, str, str, int]] = []
        app = make_app(self._service, self._token)
        app.middlewares.append(self._fate)
        self._server = TestServer(app)
        await self._server.start_server()
        await self.restart()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            await process.close()
        await self._server.close()
        await self._service.close()
        self._scratch.cleanup()

    async def restart(self) -> CloudProvider:
        for process in self._processes:
            await process.close()
        self.provider = await self.another()
        return self.provider

    async def another(self) -> CloudProvider:
        url = str(self._server.make_url(""))
        process = LocalProvider(
            MachinesClient(url, lambda: "old" if self._expired else self._token, self.clock),
            cloudproviders.instance_types("local"),
            self.clock,
        )
        self._processes.append(process)
        return process

    async def machines(self) -> Sequence[Machine]:
        return [Machine(each.name, each.uid) for each in self._service.list()]

    async def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(REMOVAL_SECONDS)

    def refuse(
        self,
        code: str,
        *,
        times: int | None = None,
        late: bool = False,
        words: str = "",
        instance_type: str = "",
        zone: str = "",
        capacity_type: str = "",
    ) -> None:
        self._refusals += [(code, words, instance_type, times or 10**6)]

    def relent(self) -> None:
        self._refusals.clear()

    def lose_next_answer(self, verb: Verb) -> None:
        self._loses = _METHODS[verb]

    def throttle(self, times: int, retry_after: float = 1.0) -> None:
        self._throttled = times

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._away = True
        yield
        self._away = False

    @asynccontextmanager
    async def expired_credentials(self) -> AsyncIterator[None]:
        self._expired = True
        yield
        self._expired = False

    @property
    def _fate(self) -> Middleware:
        @web.middleware
        async def fate(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._count(request)
            if self._away:
                return _cut(request)
            if self._throttled:
                self._throttled -= 1
                raise RefusalError(429, "TooManyRequests", "slowly")
            if request.method == "PUT":
                await self._maybe_refuse(request)
            answer = await handler(request)
            if self._loses == request.method:
                self._loses = ""
                return _cut(request)
            return answer

        return fate

    def _count(self, request: web.Request) -> None:
        if request.method == "GET":
            self.calls.reads += 1
        else:
            self.calls.writes += 1

    async def _maybe_refuse(self, request: web.Request) -> None:
        kind = (await request.json())["instanceType"]
        for number, (code, words, instance_type, times) in enumerate(self._refusals):
            if instance_type in {"", kind}:
                self._refusals[number] = (code, words, instance_type, times - 1)
                if times == 1:
                    del self._refusals[number]
                raise RefusalError(_STATUS.get(code, 409), code, f"no {kind}: {words}")


def _cut(request: web.Request) -> web.Response:
    """The connection ends; nobody hears the answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
