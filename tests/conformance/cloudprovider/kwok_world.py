"""kwok: the API server is the cloud, so its refusals are the vendor's codes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar, cast

import aiohttp

import cloudproviders
from cloudproviders.kwok import nodes
from cloudproviders.kwok.provider import KwokProvider
from cloudproviders.provider import CloudProvider
from cloudproviders.unavailable import Scope
from kube.client import Client
from kube.errors import from_status
from kube.objects import NODES
from tests.conformance.cloudprovider.world import Ability, Kind, Machine, Verb, World
from tests.fakes import objects
from tests.fakes.clock import settle
from tests.fakes.memorykube import MemoryKube

BOOT_SECONDS = 20.0
SOLD_OUT = "SoldOut"

_STATUS = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "Conflict": 409,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "Timeout": 504,
}


class _Wire:
    """The way to the API server, on which requests are refused and answers are lost."""

    def __init__(self, kube: MemoryKube) -> None:
        self._kube = kube
        self.away = False
        self.loses: Verb | None = None
        self.throttled = 0
        self.refusal: tuple[str, str] | None = None
        self.refusals = 0

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self._kube, verb)

        async def sent(*given: Any, **named: Any) -> Any:
            await asyncio.sleep(0)  # others go on while a request is under way
            self._before(verb)
            answer = await call(*given, **named)
            if self.loses == verb:
                self.loses = None
                raise aiohttp.ServerDisconnectedError
            return answer

        return sent

    def _before(self, verb: str) -> None:
        if self.away:
            raise aiohttp.ServerDisconnectedError
        if self.throttled:
            self.throttled -= 1
            raise from_status({"code": 429, "reason": "TooManyRequests", "message": "busy"})
        if verb == "create" and self.refusal and self.refusals:
            self.refusals -= 1
            code, words = self.refusal
            raise from_status({"code": _STATUS.get(code, 418), "reason": code, "message": words})


class KwokWorld(World):
    """Machines are Nodes in memory; the real API server is for the benchmark."""

    abilities = frozenset(
        {
            Ability.ZONES,
            Ability.SPOT,
            Ability.NODES,
            Ability.REFUSALS,
            Ability.THROTTLING,
            Ability.FOREIGN,
        }
    )
    documented_codes: ClassVar[Mapping[str, Kind]] = {
        SOLD_OUT: Kind.CAPACITY,
        "BadRequest": Kind.CONFIGURATION,
        "Unauthorized": Kind.TRANSIENT,
        "Forbidden": Kind.CONFIGURATION,
        "Conflict": Kind.TRANSIENT,
        "Invalid": Kind.CONFIGURATION,
        "TooManyRequests": Kind.TRANSIENT,
        "InternalError": Kind.TRANSIENT,
        "ServiceUnavailable": Kind.TRANSIENT,
        "Timeout": Kind.TRANSIENT,
    }
    types = ("kwok-a10-1", "kwok-a100-1")
    zones = ("kwok-zone-a", "kwok-zone-b")
    stock_out = SOLD_OUT
    node_class: ClassVar[Mapping[str, str]] = {
        "group": "karpenter.kwok.sh",
        "kind": "KWOKNodeClass",
        "name": "default",
    }

    async def __aenter__(self) -> KwokWorld:
        self._processes: list[KwokProvider] = []
        self._wire = _Wire(self.kube)
        self._sold_out: dict[Scope, str] = {}
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

    async def restart(self) -> CloudProvider:
        for process in self._processes:
            await process.close()
        self.provider = await self.another()
        return self.provider

    async def another(self) -> CloudProvider:
        process = KwokProvider(
            cast("Client", self._wire),
            cloudproviders.instance_types("kwok"),
            boot_seconds=BOOT_SECONDS,
            sold_out=self._sold_out,
            clock=self.clock,
        )
        self._processes.append(process)
        return process

    async def machines(self) -> Sequence[Machine]:
        found = (await self.kube.list(NODES)).items
        return [Machine(node.metadata.name, nodes.claim_uid(node)) for node in found]

    async def tick(self, seconds: float) -> None:
        await self.clock.pass_(seconds, step=max(seconds / 4, 1.0))
        await settle()

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
        if code == SOLD_OUT:
            scope = Scope(instance_type=instance_type, zone=zone, capacity_type=capacity_type)
            self._sold_out[scope] = words
            return
        self._wire.refusal = (code, words)
        self._wire.refusals = 10**6 if times is None else times

    def relent(self) -> None:
        self._sold_out.clear()
        self._wire.refusal = None

    def lose_next_answer(self, verb: Verb) -> None:
        self._wire.loses = verb

    def throttle(self, times: int, retry_after: float = 1.0) -> None:
        self._wire.throttled = times

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._wire.away = True
        yield
        self._wire.away = False

    async def foreign_instance(self, name: str = "") -> str:
        name = name or "somebody-elses"
        simulated = {nodes.FAKE_ANNOTATION: "fake"}  # but not by us
        self.kube.add(objects.node_manifest(f"other:///{name}", name, labels=simulated))
        return name
