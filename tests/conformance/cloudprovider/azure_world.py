"""AKS behind the emulated ARM, spoken to by the vendor's SDK over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import ClassVar

from cloudproviders.azure import settings
from cloudproviders.azure.agentpools import UID_TAG
from cloudproviders.azure.provider import AzureProvider
from cloudproviders.azure.sdk import AgentPoolsClient
from cloudproviders.provider import CloudProvider
from kube.meta import Manifest
from tests.conformance.cloudprovider.world import Ability, Kind, Machine, Verb, World
from tests.fakes.arm import nodes
from tests.fakes.arm.__main__ import settings as emulated
from tests.fakes.arm.aks import Aks, Pool, refused
from tests.fakes.arm.server import ArmServer
from tests.fakes.arm.tokens import TestCredential
from tests.fakes.arm.wire import Call
from tests.fakes.clock import settle

CREATE_SECONDS, DELETE_SECONDS = 20.0, 10.0

OPERATION = "OperationNotAllowed"
_QUOTA = (
    "Operation could not be completed as it results in exceeding approved {} quota. Additional"
    " details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 48, Current"
    " Usage: 40, Additional Required: 24, (Minimum) New Limit Required: 64."
)
TOLD: Mapping[str, tuple[int, str]] = {
    f"{OPERATION}/in progress": (
        409,
        "Operation is not allowed because there's an in progress update node pool operation."
        " See https://aka.ms/aks-pending-operation.",
    ),
    f"{OPERATION}/family quota": (409, _QUOTA.format("standardNCADSA100v4Family Cores")),
    f"{OPERATION}/regional quota": (409, _QUOTA.format("Total Regional Cores")),
    "QuotaExceeded": (400, _QUOTA.format("Total Regional Cores")),
    "QuotaExceeded/family": (400, _QUOTA.format("standardNCADSA100v4Family Cores")),
    "InsufficientVCPUQuota": (400, "Insufficient regional vcpu quota left for location eastus."),
    "ErrCode_InsufficientVCPUQuota": (400, "Insufficient vcpu quota requested 24, remaining 8."),
    "BadRequest/not offered": (400, "The VM size is not allowed in your subscription."),
    "AuthorizationFailed": (403, "The client does not have authorization to perform action."),
    "LinkedAuthorizationFailed": (403, "No permission on linked scope(s)."),
    "RequestDisallowedByPolicy": (403, "Resource was disallowed by policy."),
    "ResourceNotFound": (404, "The Resource was not found."),
    "ResourceGroupNotFound": (404, "Resource group could not be found."),
    "InternalServerError": (500, "Internal server error."),
    "InternalOperationError": (500, "Internal server error."),
    "ServiceUnavailable": (503, "The service is unavailable."),
    "GatewayTimeout": (504, "The gateway did not receive a response."),
    "TooManyRequests": (429, "The request is being throttled."),
    "SubscriptionRequestsThrottled": (429, "Number of requests exceeded the limit."),
    "AKSOperationPreempted": (409, "The operation was preempted by another one."),
    "OperationPreempted": (409, "The operation was preempted by another one."),
    "ExpiredAuthenticationToken": (401, "The access token expiry UTC time is earlier."),
}
"""Status and words, where 400 and any words will not do."""

CODES: Mapping[str, Kind] = {
    f"{OPERATION}/in progress": Kind.TRANSIENT,
    f"{OPERATION}/family quota": Kind.QUOTA,
    f"{OPERATION}/regional quota": Kind.QUOTA,
    "QuotaExceeded": Kind.QUOTA,
    "QuotaExceeded/family": Kind.QUOTA,
    "InsufficientVCPUQuota": Kind.QUOTA,
    "ErrCode_InsufficientVCPUQuota": Kind.QUOTA,
    "SkuNotAvailable": Kind.CAPACITY,
    "SKUNotAvailable": Kind.CAPACITY,
    "VMSizeNotSupported": Kind.CAPACITY,
    "BadRequest/not offered": Kind.CAPACITY,
    "AvailabilityZoneNotSupported": Kind.CAPACITY,
    "ZonalAllocationFailed": Kind.CAPACITY,
    "AllocationFailed": Kind.CAPACITY,
    "OverconstrainedAllocationRequest": Kind.CAPACITY,
    "OverconstrainedZonalAllocationRequest": Kind.CAPACITY,
    "AuthorizationFailed": Kind.CONFIGURATION,
    "LinkedAuthorizationFailed": Kind.CONFIGURATION,
    "RequestDisallowedByPolicy": Kind.CONFIGURATION,
    "ResourceNotFound": Kind.CONFIGURATION,
    "ResourceGroupNotFound": Kind.CONFIGURATION,
    "MissingSubscriptionRegistration": Kind.CONFIGURATION,
    "SubnetIsFull": Kind.CONFIGURATION,
    "InsufficientSubnetSize": Kind.CONFIGURATION,
    "InvalidParameter": Kind.CONFIGURATION,
    "BadRequest": Kind.CONFIGURATION,
    "K8SVersionNotSupported": Kind.CONFIGURATION,
    "NodePoolMcVersionIncompatible": Kind.CONFIGURATION,
    "PublicIPCountLimitReached": Kind.CONFIGURATION,
    "OutboundConnFailVMExtensionError": Kind.CONFIGURATION,
    "VMExtensionProvisioningError": Kind.CONFIGURATION,
    "VMExtensionProvisioningTimeout": Kind.CONFIGURATION,
    "InternalServerError": Kind.TRANSIENT,
    "InternalOperationError": Kind.TRANSIENT,
    "ServiceUnavailable": Kind.TRANSIENT,
    "GatewayTimeout": Kind.TRANSIENT,
    "TooManyRequests": Kind.TRANSIENT,
    "SubscriptionRequestsThrottled": Kind.TRANSIENT,
    "AKSOperationPreempted": Kind.TRANSIENT,
    "OperationPreempted": Kind.TRANSIENT,
    "ExpiredAuthenticationToken": Kind.TRANSIENT,
}
"""learn.microsoft.com/troubleshoot/azure/azure-kubernetes/error-codes, as far as agent pools have
to do with them, and Resource Manager's own."""


class AzureWorld(World):
    abilities = frozenset(Ability)
    documented_codes: ClassVar[Mapping[str, Kind]] = CODES
    types = ("Standard_NC24ads_A100_v4", "Standard_NC48ads_A100_v4")
    zones = ("emulator-1", "emulator-2")
    stock_out = "AllocationFailed"
    memory_seconds = 3600.0

    async def __aenter__(self) -> AzureWorld:
        self._processes: list[CloudProvider] = []
        self.aks = Aks(
            create_seconds=CREATE_SECONDS,
            delete_seconds=DELETE_SECONDS,
            on_ready=self._boot,
            on_gone=self._end,
        )
        self.arm = ArmServer(self.aks, clock=self.clock)
        self.arm.tokens.life = 10 * self.memory_seconds  # whose clock the SDK does not share
        await self.arm.start()
        self.arm.fault(matches=self._count)
        self.more: Mapping[str, str] = {}
        self.configure()
        self.secrets = ("token-",)
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
        await self.arm.stop()

    def configure(self) -> None:
        """For the next process; `more` over what all are given."""
        preview = {"AZURE_ZONES": "1,2", "AZURE_API_VERSION": "2026-07-02-preview"}
        self.given = settings.parse({**emulated(self.arm), **preview, **self.more})

    async def restart(self) -> CloudProvider:
        for process in self._processes:
            await process.close()
        self._processes.clear()
        self.provider = await self.another()
        return self.provider

    async def another(self) -> CloudProvider:
        api = AgentPoolsClient(self.given, self.clock, TestCredential(self.arm.tokens))
        process = AzureProvider(api, self.client, self.given, self.clock)
        self._processes.append(process)
        return process

    async def machines(self) -> Sequence[Machine]:
        return [
            Machine(name, (pool.properties.get("tags") or {}).get(UID_TAG, ""))
            for name, pool in self.aks.pools.items()
        ]

    async def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await settle()
        await self.arm.operations.settle()

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
        status, told = TOLD.get(code, (400, "no"))
        code = code.partition("/")[0]
        message = f"{words}. {told}" if words else told
        self.aks.fate(
            matches=_matching(instance_type, zone, capacity_type),
            times=float("inf") if times is None else times,
            refusal=None if late else refused(status, code, message),
            error={"code": code, "message": message} if late else None,
        )

    def relent(self) -> None:
        self.aks.fates.clear()

    def lose_next_answer(self, verb: Verb) -> None:
        self.arm.lose({"create": "PUT agentPool", "delete": "DELETE agentPool"}[verb])

    def throttle(self, times: int, retry_after: float = 1.0) -> None:
        self.arm.throttle(retry_after, times)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        fault = self.arm.fault(times=float("inf"), lost="before")
        yield
        fault.times = 0

    @asynccontextmanager
    async def expired_credentials(self) -> AsyncIterator[None]:
        life, self.arm.tokens.life = self.arm.tokens.life, -1.0
        self.arm.tokens.expire_all()
        yield
        self.arm.tokens.life = life

    async def foreign_instance(self, name: str = "") -> str:
        name = name or "nodepool1"
        properties: Manifest = {"vmSize": "Standard_D4s_v5", "tags": {"team": "search"}}
        self.aks.pools[name] = Pool(f"/foreign/{name}", name, properties, state="Succeeded")
        return name

    def _count(self, call: Call) -> bool:
        if call.method == "GET":
            self.calls.reads += 1
        else:
            self.calls.writes += 1
        return False

    async def _boot(self, pool: Pool) -> None:
        node = nodes.manifest(pool, {})
        self.join(
            pool.provider_id,
            pool.node_name,
            node_labels=node["metadata"]["labels"],
            taints=node["spec"]["taints"],
        )

    async def _end(self, pool: Pool) -> None:
        self.leave(pool.node_name)


def _matching(instance_type: str, zone: str, capacity_type: str) -> Callable[[str, Manifest], bool]:
    def matches(_: str, asked: Manifest) -> bool:
        kind = "spot" if asked.get("scaleSetPriority") == "Spot" else "on-demand"
        zones = [f"emulator-{each}" for each in asked.get("availabilityZones") or []]
        return (
            instance_type in {"", asked["vmSize"]}
            and (not zone or zone in zones)
            and capacity_type in {"", kind}
        )

    return matches
