"""Managed clusters' agent pools, as Microsoft.ContainerService serves them (api 2026-08-01).

Shapes are those of azure-mgmt-containerservice's models; the behaviour is from its reference and
from learn.microsoft.com/azure/aks (node pools, quotas, aka.ms/aks-pending-operation).
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kube.meta import Manifest
from tests.fakes.arm.operations import CANCELED, Operation, Operations
from tests.fakes.arm.wire import Answer, Call, Refusal, Route

PROVIDER = "Microsoft.ContainerService"
CLUSTER = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerService"
    "/managedClusters/{cluster}"
)
NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
BUSY_STATES = {"Creating", "Updating", "Deleting", "Canceling", "Upgrading", "Scaling"}


@dataclass(eq=False)
class Pool:
    """An agent pool. `properties` are those of the PUT; what the cloud knows is beside them."""

    id: str
    name: str
    properties: Manifest
    state: str = "Creating"
    error: Manifest | None = None
    etag: str = ""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    operation: Operation | None = None

    @property
    def busy(self) -> bool:
        return self.state in BUSY_STATES

    @property
    def provider_id(self) -> str:
        """Of its only machine, as kubelet and cloud controller manager write it."""
        subscription, group = self.id.split("/")[2], self.id.split("/")[4]
        cluster = self.id.split("/")[8]
        return (
            f"azure:///subscriptions/{subscription}/resourceGroups/mc_{group}_{cluster}_emulator"
            "/providers/Microsoft.Compute/virtualMachineScaleSets"
            f"/aks-{self.name}-12345678-vmss/virtualMachines/0"
        )

    @property
    def node_name(self) -> str:
        return f"aks-{self.name}-12345678-vmss000000"

    def manifest(self) -> Manifest:
        properties = copy.deepcopy(self.properties)
        properties |= {
            "provisioningState": self.state,
            "powerState": {"code": "Running"},
            "eTag": self.etag,
            "currentOrchestratorVersion": "1.34.2",
            "nodeImageVersion": "AKSUbuntu-2204gen2containerd-202611.03.0",
        }
        if self.error is not None:
            properties["status"] = {"provisioningError": self.error}
        return {
            "id": self.id,
            "name": self.name,
            "type": f"{PROVIDER}/managedClusters/agentPools",
            "properties": properties,
        }


@dataclass
class Fate:
    """What becomes of the next `times` pools that match.

    `refusal`: said at the PUT. `error`: the operation ends Failed with it. `seconds` None: it
    never ends. `joins` False: it succeeds, and no machine comes up.
    """

    matches: Callable[[str, Manifest], bool] = lambda name, properties: True
    times: float = 1
    seconds: float | None = -1.0
    refusal: Refusal | None = None
    error: Manifest | None = None
    joins: bool = True


async def nothing(_: Pool) -> None:
    """Nobody wants to know."""


class Aks:
    """One cluster's pools; its clusters are not told apart.

    `on_ready` is awaited when a pool has succeeded (let its Node join), `on_gone` once one is
    gone. `concurrency`: operations that the cluster lets run at a time.
    """

    def __init__(
        self,
        *,
        create_seconds: float = 0.0,
        delete_seconds: float = 0.0,
        on_ready: Callable[[Pool], Awaitable[None]] = nothing,
        on_gone: Callable[[Pool], Awaitable[None]] = nothing,
        concurrency: int | None = None,
        busy_retry_after: float | None = None,
        pool_limit: int = 100,
        page_size: int = 50,
    ) -> None:
        self.pools: dict[str, Pool] = {}
        self.machines: set[str] = set()
        """Pools whose machine is there; take one out, and it was evicted."""
        self.fates: list[Fate] = []
        self.create_seconds = create_seconds
        self.delete_seconds = delete_seconds
        self.on_ready = on_ready
        self.on_gone = on_gone
        self.concurrency = concurrency
        self.busy_retry_after = busy_retry_after
        self.pool_limit = pool_limit
        self.page_size = page_size
        self.refused_busy = 0
        """Calls that were answered with: an operation is in progress."""
        self.most_at_once = 0
        self.blocked_by_budget = False
        """Machines hold pods that a disruption budget keeps: only deletes that ignore it work."""
        self._operations: Operations | None = None
        self._etags = itertools.count(1)

    # What tests say.

    def fate(self, **given: Any) -> Fate:
        self.fates.append(Fate(**given))
        return self.fates[-1]

    def sold_out(
        self, size: str, code: str, message: str, *, zone: str = "", times: float = float("inf")
    ) -> Fate:
        """Refuse that size, in that zone or in any, when it is asked for."""

        def matches(_: str, properties: Manifest) -> bool:
            zones = properties.get("availabilityZones") or []
            return properties.get("vmSize") == size and (not zone or zone in zones)

        return self.fate(matches=matches, times=times, refusal=refused(400, code, message))

    # What the SDK calls.

    def routes(self, operations: Operations) -> Iterable[Route]:
        self._operations = operations
        pool = CLUSTER + "/agentPools/{pool}"
        yield Route("GET", "cluster", CLUSTER, self._cluster)
        yield Route("GET", "agentPools", CLUSTER + "/agentPools", self._list)
        yield Route("GET", "agentPool", pool, self._get)
        yield Route("PUT", "agentPool", pool, self._put)
        yield Route("DELETE", "agentPool", pool, self._delete)
        yield Route("POST", "abort", pool + "/abort", self._abort)
        yield Route("GET", "machines", pool + "/machines", self._machines)

    async def _cluster(self, call: Call) -> Answer:
        return Answer(
            200,
            {
                "id": CLUSTER.format_map(call.path),
                "name": call.path["cluster"],
                "location": "emulator",
                "properties": {
                    "provisioningState": "Succeeded",
                    "kubernetesVersion": "1.34",
                    "currentKubernetesVersion": "1.34.2",
                    "agentPoolProfiles": [
                        {"name": each.name, **each.manifest()["properties"]}
                        for each in self.pools.values()
                    ],
                },
            },
        )

    async def _list(self, call: Call) -> Answer:
        start = int(call.query.get("$skiptoken", 0))
        names = list(self.pools)[start : start + self.page_size]
        body: Manifest = {"value": [self.pools[name].manifest() for name in names]}
        if start + self.page_size < len(self.pools):
            url = f"https://{call.headers['host']}{CLUSTER.format_map(call.path)}/agentPools"
            version = call.query["api-version"]
            body["nextLink"] = f"{url}?api-version={version}&%24skiptoken={start + self.page_size}"
        return Answer(200, body)

    async def _get(self, call: Call) -> Answer:
        pool = self._existing(call)
        return Answer(200, pool.manifest(), {"ETag": pool.etag})

    async def _put(self, call: Call) -> Answer:
        name, properties = call.path["pool"], call.body.get("properties", {})
        if not NAME.fullmatch(name):
            raise refused(400, "InvalidParameter", f"agent pool name {name} is invalid")
        existing = self.pools.get(name)
        _check_preconditions(call, existing)
        self._check_busy(existing)
        if existing is None and len(self.pools) >= self.pool_limit:
            raise refused(
                400, "BadRequest", f"the cluster has its {self.pool_limit} agent pools already"
            )
        fate = self._fate_of(name, properties)
        if fate.refusal is not None:
            raise fate.refusal
        pool = existing or Pool(CLUSTER.format_map(call.path) + f"/agentPools/{name}", name, {})
        pool.properties = copy.deepcopy(properties)
        pool.state, pool.error = ("Updating" if existing else "Creating"), None
        pool.etag = f"etag-{next(self._etags)}"
        self.pools[name] = pool

        async def finish() -> Manifest | None:
            pool.etag = f"etag-{next(self._etags)}"
            if fate.error is not None:
                pool.state, pool.error = "Failed", fate.error
                return fate.error
            pool.state = "Succeeded"
            if fate.joins:
                self.machines.add(pool.name)
                await self.on_ready(pool)
            return None

        seconds = self.create_seconds if fate.seconds == -1.0 else fate.seconds
        self._begin(call, pool, "create", seconds, finish)
        assert pool.operation is not None
        return Answer(200 if existing else 201, pool.manifest(), pool.operation.headers(call))

    async def _delete(self, call: Call) -> Answer:
        pool = self.pools.get(call.path["pool"])
        if pool is None:
            return Answer(204)
        _check_preconditions(call, pool)
        self._check_busy(pool)
        ignores = call.query.get("ignore-pod-disruption-budget") == "true"
        pool.state, pool.etag = "Deleting", f"etag-{next(self._etags)}"

        async def finish() -> Manifest | None:
            if self.blocked_by_budget and not ignores:
                pool.state = "Failed"
                pool.error = {"code": "PodDrainFailure", "message": "a budget allows no eviction"}
                return pool.error
            del self.pools[pool.name]
            self.machines.discard(pool.name)
            await self.on_gone(pool)
            return None

        self._begin(call, pool, "delete", self.delete_seconds, finish)
        assert pool.operation is not None
        return Answer(202, None, pool.operation.headers(call))

    async def _abort(self, call: Call) -> Answer:
        pool = self._existing(call)
        if not pool.busy or pool.operation is None:
            raise refused(409, "OperationNotAllowed", "there is no operation to abort")
        assert self._operations is not None
        self._operations.cancel(pool.operation)
        pool.operation.status = CANCELED
        pool.state = "Canceling"

        async def finish() -> Manifest | None:
            pool.state = "Canceled"
            return None

        self._begin(call, pool, "abort", min(self.delete_seconds, 0.2), finish)
        return Answer(202, None, pool.operation.headers(call))

    async def _machines(self, call: Call) -> Answer:
        """The one that came up, until somebody says that it was evicted."""
        pool = self._existing(call)
        there = pool.provider_id.removeprefix("azure://")
        found = {"name": pool.node_name, "properties": {"resourceId": there}}
        up = pool.name in self.machines
        return Answer(200, {"value": [found] if up else []})

    def _begin(
        self,
        call: Call,
        pool: Pool,
        verb: str,
        seconds: float | None,
        finish: Callable[[], Awaitable[Manifest | None]],
    ) -> None:
        assert self._operations is not None
        pool.operation = self._operations.begin(
            pool.name,
            verb,
            seconds,
            finish,
            provider=PROVIDER,
            subscription=call.path["subscription"],
        )
        self.most_at_once = max(self.most_at_once, len(self._operations.running))

    def _check_busy(self, pool: Pool | None) -> None:
        assert self._operations is not None
        running = self._operations.running
        of_pool = pool is not None and pool.busy
        if of_pool or (self.concurrency is not None and len(running) >= self.concurrency):
            self.refused_busy += 1
            verb = running[0].verb if running else "update"
            raise refused(
                409,
                "OperationNotAllowed",
                f"Operation is not allowed because there's an in progress {verb} node pool"
                " operation. See https://aka.ms/aks-pending-operation for more details.",
                retry_after=self.busy_retry_after,
            )

    def _fate_of(self, name: str, properties: Manifest) -> Fate:
        for fate in self.fates:
            if fate.times > 0 and fate.matches(name, properties):
                fate.times -= 1
                return fate
        return Fate()

    def _existing(self, call: Call) -> Pool:
        name = call.path["pool"]
        if name not in self.pools:
            raise refused(404, "NotFound", f"Agent Pool not found: {name}")
        return self.pools[name]


def refused(
    status: int,
    code: str,
    message: str,
    *,
    details: Iterable[Manifest] = (),
    retry_after: float | None = None,
) -> Refusal:
    """As the resource provider of AKS says no."""
    return Refusal(status, code, message, details=details, retry_after=retry_after, flat=True)


def _check_preconditions(call: Call, pool: Pool | None) -> None:
    wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
    etag = pool.etag if pool else ""
    met = (
        wanted is None
        or (wanted == "*" and pool is not None)
        or (pool is not None and wanted.strip('"') == etag)
    )
    if unwanted == "*" and pool is not None:
        met = False
    if not met:
        raise refused(412, "PreconditionFailed", "the agent pool is not as the caller thinks")
