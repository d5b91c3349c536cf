"""AKS on Azure Local: the vendor's SDK against an emulated Resource Manager, over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from types import TracebackType
from typing import Any, ClassVar

import cloudproviders
from cloudproviders.arc.errors import (
    CONFIGURATION,
    NOT_SOLD,
    PASSING,
    QUOTAS,
    STOCK_OUT_SECONDS,
    STOCK_OUTS,
)
from cloudproviders.arc.provider import ArcProvider
from cloudproviders.arc.sdk import ArcApi
from cloudproviders.arc.settings import parse
from cloudproviders.provider import CloudProvider
from kube.meta import Manifest
from tests.conformance.cloudprovider.world import Ability, Kind, Machine, Verb, World
from tests.fakes.arm.arc import Arc, ArcFate, ArcPool
from tests.fakes.arm.server import ArmServer
from tests.fakes.arm.site import settings
from tests.fakes.arm.tokens import SECRET
from tests.fakes.arm.wire import Call, Refusal
from tests.fakes.clock import settle

_SITES_OWN: Mapping[str, Kind] = {
    **dict.fromkeys((*STOCK_OUTS, *NOT_SOLD), Kind.CAPACITY),
    **dict.fromkeys(QUOTAS, Kind.QUOTA),
    **dict.fromkeys(PASSING, Kind.TRANSIENT),
    **dict.fromkeys(CONFIGURATION, Kind.CONFIGURATION),
}
_ARMS: Mapping[str, tuple[int, Kind]] = {
    "AuthorizationFailed": (403, Kind.CONFIGURATION),
    "LinkedAuthorizationFailed": (403, Kind.CONFIGURATION),
    "RequestDisallowedByPolicy": (403, Kind.CONFIGURATION),
    "ResourceGroupNotFound": (404, Kind.CONFIGURATION),
    "ParentResourceNotFound": (404, Kind.CONFIGURATION),
    "InvalidRequestContent": (400, Kind.CONFIGURATION),
    "InvalidParameter": (400, Kind.CONFIGURATION),
    "ScopeLocked": (409, Kind.TRANSIENT),
    "Conflict": (409, Kind.TRANSIENT),
    "ExpiredAuthenticationToken": (401, Kind.TRANSIENT),
    "RequestTimeout": (408, Kind.TRANSIENT),
    "TooManyRequests": (429, Kind.TRANSIENT),
    "InternalServerError": (500, Kind.TRANSIENT),
    "ServiceUnavailable": (503, Kind.TRANSIENT),
    "GatewayTimeout": (504, Kind.TRANSIENT),
}
_COUNTED: Mapping[Verb, str] = {"create": "PUT agentPool", "delete": "DELETE agentPool"}


class ArcWorld(World):
    abilities = frozenset(Ability) - {Ability.ZONES, Ability.SPOT}
    documented_codes: ClassVar[Mapping[str, Kind]] = {
        **_SITES_OWN,
        **{code: kind for code, (_, kind) in _ARMS.items()},
    }
    types = ("Standard_NC4_A16", "Standard_NC4_A2")
    stock_out = "OutOfCapacity"
    memory_seconds = STOCK_OUT_SECONDS

    async def __aenter__(self) -> ArcWorld:
        self.secrets = (SECRET, "token-1", "token-2")
        self.arc = Arc(
            skus=tuple(cloudproviders.instance_types("arc")),
            clock=self.clock,
            create_seconds=30.0,
            delete_seconds=10.0,
            on_ready=self._ready,
            on_gone=self._gone,
        )
        self.server = ArmServer(self.arc, clock=self.clock)
        await self.server.start()
        self.server.fault(matches=self._count, times=float("inf"))
        self._fates: list[ArcFate] = []
        self._processes: list[ArcProvider] = []
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
        await self.server.stop()

    async def restart(self) -> CloudProvider:
        for process in self._processes:
            await process.close()
        self.provider = await self.another()
        return self.provider

    async def another(self) -> CloudProvider:
        parsed = parse(settings(self.server))
        types = cloudproviders.instance_types("arc")
        process = ArcProvider(parsed, ArcApi(parsed), self.client, types, self.clock)
        self._processes.append(process)
        return process

    async def machines(self) -> Sequence[Machine]:
        return [
            Machine(pool.name, (pool.body.get("tags") or {}).get("kaito.sh_nodeclaim-uid", ""))
            for pool in self.arc.pools.values()
        ]

    async def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
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
        def matches(properties: Manifest) -> bool:
            return instance_type in {"", properties["vmSize"]}

        text = f"rpc error: code = Unknown desc = {code}: {words}"
        given: dict[str, Any] = {"error": text}
        if not late:
            status, _ = _ARMS.get(code, (400, Kind.CONFIGURATION))
            named = "AgentPoolValidationFailed" if code in _SITES_OWN else code
            message = text if code in _SITES_OWN else words
            given = {"refusal": Refusal(status, named, message)}
        many = float("inf") if times is None else times
        self._fates.append(self.arc.fate(matches=matches, times=many, **given))

    def relent(self) -> None:
        for fate in self._fates:
            fate.times = 0

    def lose_next_answer(self, verb: Verb) -> None:
        self.server.lose(_COUNTED[verb])

    def throttle(self, times: int, retry_after: float = 1.0) -> None:
        self.server.throttle(retry_after, times)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        fault = self.server.fault(times=float("inf"), lost="before")
        yield
        fault.times = 0

    @asynccontextmanager
    async def expired_credentials(self) -> AsyncIterator[None]:
        self.server.tokens.expire_all()
        self.server.tokens.away = True
        yield
        self.server.tokens.away = False

    async def foreign_instance(self, name: str = "") -> str:
        name = name or "byhand"
        body = {"properties": {"count": 3, "vmSize": "Standard_A4_v2"}}
        now = self.clock.now().astimezone(UTC)
        self.arc.pools[name] = ArcPool(f"/by/hand/{name}", name, body, now, state="Succeeded")
        return name

    def _count(self, call: Call) -> bool:
        if call.method == "GET":
            self.calls.reads += 1
        else:
            self.calls.writes += 1
        return False

    async def _ready(self, pool: ArcPool) -> None:
        self.join(
            pool.provider_id,
            pool.node_name,
            node_labels=pool.properties["nodeLabels"],
            taints=[_taint(text) for text in pool.properties["nodeTaints"]],
        )

    async def _gone(self, pool: ArcPool) -> None:
        self.leave(pool.node_name)


def _taint(text: str) -> dict[str, str]:
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    return {"key": key, "value": value, "effect": effect}
