"""Agent pools of AKS on Azure Local, as Microsoft.HybridContainerService serves them (2024-01-01).

Shapes are those of azure-mgmt-hybridcontainerservice's models; limits and the one operation at a
time are from learn.microsoft.com/azure/aks/aksarc/scale-requirements.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kube.clock import Clock
from kube.meta import Manifest
from tests.fakes.arm.operations import Operation, Operations
from tests.fakes.arm.wire import Answer, Call, Refusal, Route

PROVIDER = "Microsoft.HybridContainerService"
GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers"
CLUSTER = GROUP + "/Microsoft.Kubernetes/connectedClusters/{cluster}"
POOLS = f"{CLUSTER}/providers/{PROVIDER}/provisionedClusterInstances/default/agentPools"
LOCATION = GROUP + "/Microsoft.ExtendedLocation/customLocations/{location}"
SKUS = f"{LOCATION}/providers/{PROVIDER}/skus"
NAME = re.compile(r"[a-z][a-z0-9]{2,11}")
BUSY_STATES = {"Accepted", "Pending", "Creating", "Updating", "Upgrading", "Deleting"}


@dataclass(eq=False)
class ArcPool:
    """`body` is that of the PUT; what the site knows is beside it."""

    id: str
    name: str
    body: Manifest
    created: datetime
    state: str = "Creating"
    error: str = ""
    operation: Operation | None = None

    @property
    def properties(self) -> Manifest:
        return dict(self.body.get("properties") or {})

    @property
    def provider_id(self) -> str:
        """As the site's cloud controller manager writes it: not Azure's form."""
        return f"moc://moc-{self.name}0a1b2c"

    @property
    def node_name(self) -> str:
        return f"moc-{self.name}0a1b2c"

    def manifest(self) -> Manifest:
        status: Manifest = {"currentState": self.state, "readyReplicas": []}
        if self.error:
            status["errorMessage"] = self.error
        if self.state == "Succeeded":
            status["readyReplicas"] = [{"count": 1, "vmSize": self.properties.get("vmSize")}]
        return {
            **copy.deepcopy(self.body),
            "id": self.id,
            "name": self.name,
            "type": f"{PROVIDER}/provisionedClusterInstances/agentPools",
            "systemData": {"createdAt": self.created.strftime("%Y-%m-%dT%H:%M:%SZ")},
            "properties": {**self.properties, "provisioningState": self.state, "status": status},
        }


@dataclass
class ArcFate:
    """What becomes of the next `times` pools that match: refused at the PUT, or taken and Failed
    with `error` as the site words it. `joins` False: it succeeds, and no machine comes up."""

    matches: Callable[[Manifest], bool] = lambda properties: True
    times: float = 1
    refusal: Refusal | None = None
    error: str = ""
    joins: bool = True


async def nothing(_: ArcPool) -> None:
    """Nobody wants to know."""


@dataclass
class Arc:
    """One connected cluster's pools, and the machine sizes of its site."""

    skus: Sequence[str] = ()
    clock: Clock = field(default_factory=Clock)
    create_seconds: float = 0.0
    delete_seconds: float = 0.0
    on_ready: Callable[[ArcPool], Awaitable[None]] = nothing
    on_gone: Callable[[ArcPool], Awaitable[None]] = nothing
    pool_limit: int = 16
    pools: dict[str, ArcPool] = field(default_factory=dict)
    fates: list[ArcFate] = field(default_factory=list)
    refused_busy: int = 0
    """Calls that were answered with: an operation is in progress."""

    def fate(self, **given: Any) -> ArcFate:
        self.fates.append(ArcFate(**given))
        return self.fates[-1]

    def routes(self, operations: Operations) -> Iterable[Route]:
        self._operations = operations
        pool = POOLS + "/{pool}"
        yield Route("GET", "agentPools", POOLS, self._list)
        yield Route("GET", "agentPool", pool, self._get)
        yield Route("PUT", "agentPool", pool, self._put)
        yield Route("DELETE", "agentPool", pool, self._delete)
        yield Route("GET", "skus", SKUS, self._skus)

    async def _skus(self, call: Call) -> Answer:
        values = [{"name": name, "size": name, "capabilities": []} for name in self.skus]
        properties = {"provisioningState": "Succeeded", "values": values}
        return Answer(200, {"value": [{"name": "default", "properties": properties}]})

    async def _list(self, call: Call) -> Answer:
        return Answer(200, {"value": [each.manifest() for each in self.pools.values()]})

    async def _get(self, call: Call) -> Answer:
        pool = self.pools.get(call.path["pool"])
        if pool is None:
            raise Refusal(404, "ResourceNotFound", f"{call.path['pool']} was not found")
        return Answer(200, pool.manifest())

    async def _put(self, call: Call) -> Answer:
        name = call.path["pool"]
        self._check(name, call.body)
        fate = self._fate_of(call.body["properties"])
        if fate.refusal is not None:
            raise fate.refusal
        existing = self.pools.get(name)
        pool = existing or ArcPool(
            POOLS.format_map(call.path) + f"/{name}", name, {}, self.clock.now().astimezone(UTC)
        )
        pool.body = copy.deepcopy(call.body)
        pool.state, pool.error = ("Updating" if existing else "Creating"), ""
        self.pools[name] = pool

        async def finish() -> Manifest | None:
            if fate.error:
                pool.state, pool.error = "Failed", fate.error
                return {"code": "AgentPoolCreateFailed", "message": fate.error}
            pool.state = "Succeeded"
            if fate.joins:
                await self.on_ready(pool)
            return None

        operation = self._begin(call, pool, "create", self.create_seconds, finish)
        return Answer(200 if existing else 201, pool.manifest(), operation.headers(call))

    async def _delete(self, call: Call) -> Answer:
        pool = self.pools.get(call.path["pool"])
        if pool is None:
            return Answer(204)
        self._check_busy()
        pool.state = "Deleting"

        async def finish() -> Manifest | None:
            del self.pools[pool.name]
            await self.on_gone(pool)
            return None

        operation = self._begin(call, pool, "delete", self.delete_seconds, finish)
        return Answer(202, None, operation.headers(call))

    def _begin(
        self,
        call: Call,
        pool: ArcPool,
        verb: str,
        seconds: float,
        finish: Callable[[], Awaitable[Manifest | None]],
    ) -> Operation:
        pool.operation = self._operations.begin(
            pool.name,
            verb,
            seconds,
            finish,
            provider=PROVIDER,
            subscription=call.path["subscription"],
        )
        return pool.operation

    def _check(self, name: str, body: Manifest) -> None:
        properties = body.get("properties") or {}
        if not NAME.fullmatch(name):
            raise Refusal(400, "InvalidParameter", f"agent pool name {name} is invalid")
        if (body.get("extendedLocation") or {}).get("type") != "CustomLocation":
            raise Refusal(400, "InvalidRequestContent", "the custom location is missing")
        if properties.get("count", 0) < 1:
            raise Refusal(400, "InvalidParameter", "empty agent pools are not supported")
        self._check_busy()
        if name not in self.pools and len(self.pools) >= self.pool_limit:
            raise Refusal(400, "BadRequest", f"the cluster has its {self.pool_limit} pools")
        if properties.get("vmSize") not in self.skus:
            raise Refusal(400, "NotSupported", f"there is no size {properties.get('vmSize')}")

    def _check_busy(self) -> None:
        if any(pool.state in BUSY_STATES for pool in self.pools.values()):
            self.refused_busy += 1
            raise Refusal(409, "Conflict", "an operation on the cluster is in progress")

    def _fate_of(self, properties: Manifest) -> ArcFate:
        for fate in self.fates:
            if fate.times > 0 and fate.matches(properties):
                fate.times -= 1
                return fate
        return ArcFate()
