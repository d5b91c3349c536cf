"""GKE as a world: the emulated cluster over gRPC, Compute Engine over REST, one clock for all."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import ClassVar

import cloudproviders
from cloudproviders.gcp import errors
from cloudproviders.gcp.compute import Compute
from cloudproviders.gcp.nodeclass import GCE_NODE_CLASSES
from cloudproviders.gcp.provider import GcpProvider
from cloudproviders.gcp.sdk import GkeCluster
from cloudproviders.gcp.settings import from_settings
from cloudproviders.provider import CloudProvider
from tests.conformance.cloudprovider.world import Ability, Calls, Kind, Machine, Verb, World
from tests.fakes.gke.compute import ComputeServer
from tests.fakes.gke.gke import Fate, Gke, Refusal, busy
from tests.fakes.gke.gke import Machine as GkeMachine
from tests.fakes.gke.server import Fault, GkeServer

QUOTA = (
    'Insufficient regional quota to satisfy request: resource "NVIDIA_L4_GPUS": request requires'
    " '1.0' and is short '1.0'. project has a quota of '8.0' with '0.0' available. {words}"
)
"""As GKE words it, with status PERMISSION_DENIED."""

KINDS: Mapping[errors.Kind, Kind] = {
    errors.Kind.STOCK_OUT: Kind.CAPACITY,
    errors.Kind.ADDRESSES: Kind.CAPACITY,
    errors.Kind.QUOTA: Kind.QUOTA,
    errors.Kind.CONFIGURATION: Kind.CONFIGURATION,
    errors.Kind.NOT_FOUND: Kind.CONFIGURATION,
    errors.Kind.BUSY: Kind.TRANSIENT,
    errors.Kind.TRANSIENT: Kind.TRANSIENT,
    errors.Kind.EXISTS: Kind.TRANSIENT,
    errors.Kind.NOTICE: Kind.CONFIGURATION,
}

CODES: Mapping[str, Kind] = {
    **{status: KINDS[kind] for status, kind in errors.STATUSES.items()},
    **{f"{reason}/reason": KINDS[kind] for reason, kind in errors.REASONS.items()},
    **{f"{code}/condition": KINDS[kind] for code, kind in errors.CONDITIONS.items()},
    **{f"{code}/compute": KINDS[kind] for code, kind in errors.COMPUTE.items()},
    "PERMISSION_DENIED/quota": Kind.QUOTA,
}


class GcpWorld(World):
    """A regional cluster with nodes in two zones."""

    abilities = frozenset(Ability)
    documented_codes = CODES
    types = ("g2-standard-4", "g2-standard-8")
    zones: ClassVar[tuple[str, ...]] = ("us-central1-a", "us-central1-b")
    stock_out = "GCE_STOCKOUT/condition"
    memory_seconds = errors.TTL_SECONDS[errors.Kind.STOCK_OUT]

    def __init__(self) -> None:
        super().__init__()
        self.kube.store(GCE_NODE_CLASSES)  # so that the kind is served
        self.gke = Gke(clock=self.clock, on_ready=self._ready, on_gone=self._gone)
        self.server = GkeServer(self.gke)
        self.compute = ComputeServer()
        self.token = "ya29.never-to-be-seen"
        self.secrets = (self.token,)
        self.server.tokens = {self.token}
        self.compute.tokens = {self.token}
        self.calls = _Counted(self.server, self.compute)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> GcpWorld:
        await self._open.enter_async_context(self.server)
        await self._open.enter_async_context(self.compute)
        self.provider = await self.another()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def restart(self) -> CloudProvider:
        await self.provider.close()
        self.provider = await self.another()
        return self.provider

    async def another(self) -> CloudProvider:
        settings = from_settings(
            {
                **self.gke.endpoint_settings(),
                "GCP_ENDPOINT": self.server.url,
                "GCP_COMPUTE_ENDPOINT": self.compute.url,
            }
        )
        provider = GcpProvider(
            settings,
            self.client,
            GkeCluster(settings, self._bearer),
            cloudproviders.instance_types("gcp"),
            compute=Compute(settings, self._bearer),
            clock=self.clock,
        )
        self._open.push_async_callback(provider.close)
        return provider

    async def machines(self) -> Sequence[Machine]:
        return [
            Machine(pool.name, pool.config.resource_labels.get("kaito-nodeclaim-uid", ""))
            for pool in self.gke.pools.values()
        ]

    async def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.gke.settle()

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
        """Conditions and Compute Engine's codes come late always, statuses at once."""
        name, _, variant = code.partition("/")
        fate = Fate(
            times=math.inf if times is None else times,
            machine_type=instance_type,
            zone=zone,
            capacity_type=capacity_type,
        )
        if variant in {"condition", "compute"}:
            fate.code, fate.message = name, words or "no more of it"
        else:
            fate.refusal = _refusal(name, variant, words)
        self.gke.fates.append(fate)

    def relent(self) -> None:
        self.gke.fates.clear()

    def lose_next_answer(self, verb: Verb) -> None:
        method = {"create": "CreateNodePool", "delete": "DeleteNodePool"}[verb]
        self.server.faults.append(Fault(methods=(method,), lost="after"))

    def throttle(self, times: int, retry_after: float = 1.0) -> None:
        refusal = Refusal(
            "RESOURCE_EXHAUSTED", "Quota exceeded per minute.", "RATE_LIMIT_EXCEEDED", retry_after
        )
        self.server.faults.append(Fault(times=times, refusal=refusal))

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        away = Fault(times=math.inf, lost="before")
        self.server.faults.append(away)
        yield
        away.times = 0

    @asynccontextmanager
    async def expired_credentials(self) -> AsyncIterator[None]:
        self.server.tokens = self.compute.tokens = set()
        yield
        self.server.tokens = self.compute.tokens = {self.token}

    async def foreign_instance(self, name: str = "") -> str:
        self.gke.foreign(name or "default-pool")
        return name or "default-pool"

    async def _bearer(self) -> str:
        return self.token

    async def _ready(self, machine: GkeMachine) -> None:
        self.join(
            machine.provider_id, machine.name, node_labels=machine.labels, taints=machine.taints
        )

    async def _gone(self, machine: GkeMachine) -> None:
        self.leave(machine.name)


def _refusal(name: str, variant: str, words: str) -> Refusal:
    if variant == "quota":
        return Refusal(name, QUOTA.format(words=words))
    if name in {"CLUSTER_ALREADY_HAS_OPERATION"}:
        return busy("operation-upgrade")
    if name in errors.STATUSES:
        return Refusal(name, words or "no")
    kind = errors.REASONS.get(name, errors.Kind.BUSY)
    status = {
        errors.Kind.TRANSIENT: "RESOURCE_EXHAUSTED",
        errors.Kind.CONFIGURATION: "PERMISSION_DENIED",
    }.get(kind, "FAILED_PRECONDITION")
    return Refusal(status, words or "no", name)


class _Counted(Calls):
    """What the servers have counted since a test set it back."""

    def __init__(self, server: GkeServer, compute: ComputeServer) -> None:
        self._server = server
        self._compute = compute
        self._read = self._written = 0

    @property
    def reads(self) -> int:  # type: ignore[override]
        return self._server.reads + self._compute.counts.total() - self._read

    @reads.setter
    def reads(self, value: int) -> None:
        self._read = self._server.reads + self._compute.counts.total() - value

    @property
    def writes(self) -> int:  # type: ignore[override]
        return self._server.writes - self._written

    @writes.setter
    def writes(self, value: int) -> None:
        self._written = self._server.writes - value
