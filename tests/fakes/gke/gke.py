"""A GKE cluster's node pools and operations: what Google's side does, without a wire.

Nothing runs by itself: `settle` brings everything up to the clock's time, and tells the hooks which
machines have come and gone. Over real time `server.GkeServer` calls it all the while.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.cloud import container_v1
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo

from kube.clock import Clock

Status = container_v1.NodePool.Status
Kind = container_v1.Operation.Type
Code = container_v1.StatusCondition.Code

DONE = container_v1.Operation.Status.DONE
RUNNING = container_v1.Operation.Status.RUNNING
SPECIFIC = container_v1.ReservationAffinity.Type.SPECIFIC_RESERVATION
STUCK_SECONDS = 35 * 60.0
"""For so long GKE tries to get a machine that is sold out."""


class Refusal(Exception):
    """A call that is refused: the name of a google.rpc.Code, and ErrorInfo.reason."""

    def __init__(
        self, status: str, message: str, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after = retry_after


@dataclass
class Fate:
    """Befalls the next `times` orders that match ("" is any).

    At once where there is a `refusal`; else the pool comes to nothing, with a `code` of
    StatusCondition or of Compute Engine. `stuck`: GKE goes on trying, and shows the condition.
    """

    times: float = 1
    machine_type: str = ""
    zone: str = ""
    capacity_type: str = ""
    refusal: Refusal | None = None
    code: str = ""
    message: str = ""
    stuck: bool = False

    def befalls(self, pool: container_v1.NodePool) -> bool:
        return (
            self.times > 0
            and self.machine_type in {"", pool.config.machine_type}
            and self.zone in {"", *pool.locations}
            and self.capacity_type in {"", capacity_type(pool)}
        )


@dataclass
class Machine:
    """The only node of a pool."""

    pool: str
    name: str
    provider_id: str
    labels: dict[str, str]
    taints: list[dict[str, str]]
    machine_type: str
    gpus: int


@dataclass
class _Work:
    """An operation, and when it ends by itself."""

    operation: container_v1.Operation
    pool: str
    ends: float
    finish: Callable[[], None]


Hook = Callable[[Machine], Awaitable[None]]


@dataclass
class Gke:
    """One cluster. Seconds; `concurrency` is how many operations it takes at a time, None any.

    Google documents that upgrades can be cancelled, and says nothing of creations: `cancellable`.
    """

    project: str = "emulator-project"
    location: str = "us-central1"
    cluster: str = "emulator"
    zones: tuple[str, ...] = ("us-central1-a", "us-central1-b")
    version: str = "1.33.4-gke.1000"
    channel: str = "UNSPECIFIED"
    create_seconds: float = 20.0
    delete_seconds: float = 10.0
    concurrency: int | None = None
    cancellable: bool = False
    clock: Clock = field(default_factory=Clock)
    on_ready: Hook | None = None
    on_gone: Hook | None = None

    def __post_init__(self) -> None:
        self.pools: dict[str, container_v1.NodePool] = {}
        self.operations: dict[str, container_v1.Operation] = {}
        self.machines: dict[str, Machine] = {}
        self.fates: list[Fate] = []
        self._work: list[_Work] = []
        self._news: list[tuple[bool, Machine]] = []
        self._numbers = itertools.count(1)

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}/clusters/{self.cluster}"

    def endpoint_settings(self) -> dict[str, str]:
        """What the provisioner must be told, less the addresses."""
        return {
            "GCP_PROJECT": self.project,
            "GCP_LOCATION": self.location,
            "GCP_CLUSTER_NAME": self.cluster,
        }

    # What the API does.

    def create(self, pool: container_v1.NodePool) -> container_v1.Operation:
        if pool.name in self.pools:
            raise Refusal("ALREADY_EXISTS", f"Already exists: {self.parent}/nodePools/{pool.name}.")
        self._take_turn()
        fate = next((fate for fate in self.fates if fate.befalls(pool)), None)
        if fate is not None:
            fate.times -= 1
            if fate.refusal is not None:
                raise fate.refusal
        pool = container_v1.NodePool(pool)
        pool.status = Status.PROVISIONING
        pool.version = self.version
        pool.instance_group_urls = [self._group(pool)]
        pool.etag = hashlib.sha256(container_v1.NodePool.serialize(pool)).hexdigest()[:16]
        self.pools[pool.name] = pool
        if fate is None:
            return self._start(Kind.CREATE_NODE_POOL, pool.name, self.create_seconds, self._ready)
        if fate.stuck:
            self._show(pool, fate)
        lasts = STUCK_SECONDS if fate.stuck else self.create_seconds
        return self._start(
            Kind.CREATE_NODE_POOL, pool.name, lasts, lambda name: self._fail(name, fate)
        )

    def delete(self, name: str) -> container_v1.Operation:
        pool = self._pool(name)
        if any(work.pool == name for work in self._work):
            raise busy(self._of(name).operation.name)
        self._take_turn()
        pool.status = Status.STOPPING
        return self._start(Kind.DELETE_NODE_POOL, name, self.delete_seconds, self._gone)

    def cancel(self, name: str) -> None:
        work = next((work for work in self._work if work.operation.name == name), None)
        if work is None:
            raise Refusal("NOT_FOUND", f"Not found: operation {name}.")
        if not self.cancellable or work.operation.operation_type != Kind.CREATE_NODE_POOL:
            raise Refusal(
                "FAILED_PRECONDITION",
                f"Operation {name} cannot be cancelled.",
                "OPERATION_NOT_CANCELLABLE",
            )
        self._work.remove(work)
        work.operation.status = DONE
        pool = self.pools[work.pool]
        pool.status = Status.ERROR
        pool.status_message = "The operation was cancelled."

    def get(self, name: str) -> container_v1.NodePool:
        return self._pool(name)

    def describe(self) -> container_v1.Cluster:
        return container_v1.Cluster(
            name=self.cluster,
            location=self.location,
            locations=list(self.zones),
            current_master_version=self.version,
            release_channel={"channel": self.channel},
            status=container_v1.Cluster.Status.RUNNING,
        )

    # What fate does.

    def lose(self, name: str) -> None:
        """The pool's machine vanishes behind everybody's back; the pool stays."""
        self._leave(name)

    def relents(self, name: str) -> None:
        """A pool that was stuck gets its machine after all."""
        work = self._of(name)
        work.ends, work.finish = self.clock.monotonic(), lambda: self._ready(name)
        self.pools[name].conditions = []

    def forget(self, name: str) -> None:
        """The pool vanishes behind everybody's back."""
        self._gone(name)

    def foreign(self, name: str) -> None:
        """A pool of somebody else."""
        self.pools[name] = container_v1.NodePool(
            name=name,
            status=Status.RUNNING,
            locations=[self.zones[0]],
            config={"machine_type": "e2-standard-4", "image_type": "COS_CONTAINERD"},
        )

    async def settle(self) -> None:
        """Everything that is due by now, and the hooks for it."""
        now = self.clock.monotonic()
        for work in sorted(self._work, key=lambda each: each.ends):
            if work.ends <= now:
                self._work.remove(work)
                work.operation.status = DONE
                work.operation.end_time = _time(self.clock.now())
                work.finish()
        while self._news:
            came, machine = self._news.pop(0)
            hook = self.on_ready if came else self.on_gone
            if hook is not None:
                await hook(machine)

    # How it is kept.

    def _pool(self, name: str) -> container_v1.NodePool:
        if name not in self.pools:
            raise Refusal("NOT_FOUND", f"Not found: {self.parent}/nodePools/{name}.")
        return self.pools[name]

    def _of(self, name: str) -> _Work:
        return next(work for work in self._work if work.pool == name)

    def _take_turn(self) -> None:
        if self.concurrency is None or len(self._work) < self.concurrency:
            return
        if self.concurrency == 1:
            raise busy(self._work[0].operation.name)
        raise Refusal(
            "RESOURCE_EXHAUSTED",
            f'Too many operations: cluster "{self.cluster}" hits the concurrent operations quota'
            f" {self.concurrency}, please try again later.",
        )

    def _start(
        self, kind: Kind, pool: str, lasts: float, finish: Callable[[str], None]
    ) -> container_v1.Operation:
        number = next(self._numbers)
        operation = container_v1.Operation(
            name=f"operation-{number:06d}",
            operation_type=kind,
            status=RUNNING,
            location=self.location,
            target_link=f"https://container.googleapis.com/v1/{self.parent}/nodePools/{pool}",
            start_time=_time(self.clock.now()),
        )
        self.operations[operation.name] = operation
        ends = self.clock.monotonic() + lasts
        self._work.append(_Work(operation, pool, ends, lambda: finish(pool)))
        return operation

    def _ready(self, name: str) -> None:
        pool = self.pools[name]
        pool.status = Status.RUNNING
        machine = self._machine(pool)
        self.machines[name] = machine
        self._news.append((True, machine))

    def _gone(self, name: str) -> None:
        self._leave(name)
        self.pools.pop(name, None)

    def _leave(self, name: str) -> None:
        if (machine := self.machines.pop(name, None)) is not None:
            self._news.append((False, machine))

    def _show(self, pool: container_v1.NodePool, fate: Fate) -> None:
        if fate.code in Code.__members__:
            pool.conditions = [{"code": fate.code, "message": fate.message}]

    def _fail(self, name: str, fate: Fate) -> None:
        pool = self.pools[name]
        self._show(pool, fate)
        pool.status = Status.ERROR
        told = (
            "Google Compute Engine: Not all instances running in IGM after 20.1s. Expected 1,"
            f" running 0, transitioning 1. Current errors: [{fate.code}]: {fate.message}"
        )
        pool.status_message = told
        operation = max(
            (each for each in self.operations.values() if each.target_link.endswith(f"/{name}")),
            key=lambda each: each.name,
        )
        operation.nodepool_conditions = pool.conditions
        operation.status_message = told
        raw = container_v1.Operation.pb(operation)
        raw.error.code = code_pb2.UNKNOWN
        raw.error.message = told
        if not pool.conditions:
            raw.error.details.add().Pack(
                ErrorInfo(reason=fate.code, domain="compute.googleapis.com")
            )

    def _group(self, pool: container_v1.NodePool) -> str:
        zone = pool.locations[0] if pool.locations else self.zones[0]
        return (
            f"https://www.googleapis.com/compute/v1/projects/{self.project}/zones/{zone}"
            f"/instanceGroupManagers/{self._base(pool.name)}-grp"
        )

    def _base(self, pool: str) -> str:
        hashed = hashlib.sha256(f"{self.cluster}/{pool}".encode()).hexdigest()
        return f"gke-{self.cluster[:20]}-{pool[:20]}-{hashed[:8]}"

    def _machine(self, pool: container_v1.NodePool) -> Machine:
        suffix = hashlib.sha256(f"{pool.name}/{next(self._numbers)}".encode()).hexdigest()[:4]
        name, zone = f"{self._base(pool.name)}-{suffix}", pool.locations[0]
        return Machine(
            pool=pool.name,
            name=name,
            provider_id=f"gce://{self.project}/{zone}/{name}",
            labels=dict(_labels(pool, name, zone)),
            taints=list(_taints(pool)),
            machine_type=pool.config.machine_type,
            gpus=sum(_devices(each) for each in pool.config.accelerators),
        )


def busy(operation: str) -> Refusal:
    """Of a cluster that does one thing at a time."""
    return Refusal(
        "FAILED_PRECONDITION",
        f"Cluster is running incompatible operation {operation}.",
        "CLUSTER_ALREADY_HAS_OPERATION",
    )


def capacity_type(pool: container_v1.NodePool) -> str:
    if pool.config.reservation_affinity.consume_reservation_type == SPECIFIC:
        return "reserved"
    return "spot" if pool.config.spot else "on-demand"


def _labels(pool: container_v1.NodePool, name: str, zone: str) -> Iterator[tuple[str, str]]:
    """What GKE gives the nodes of a pool."""
    config = pool.config
    yield from config.labels.items()
    yield "cloud.google.com/gke-nodepool", pool.name
    yield "node.kubernetes.io/instance-type", config.machine_type
    yield "topology.kubernetes.io/zone", zone
    yield "topology.kubernetes.io/region", zone.rsplit("-", 1)[0]
    yield "kubernetes.io/hostname", name
    yield "kubernetes.io/arch", "amd64"
    yield "kubernetes.io/os", "linux"
    if config.spot:
        yield "cloud.google.com/gke-spot", "true"
    for accelerator in config.accelerators:
        yield "cloud.google.com/gke-accelerator", accelerator.accelerator_type
        driver = accelerator.gpu_driver_installation_config.gpu_driver_version.name
        if driver in {"DEFAULT", "LATEST"}:
            yield "cloud.google.com/gke-gpu-driver-version", driver.lower()
        if accelerator.gpu_partition_size:
            yield "cloud.google.com/gke-gpu-partition-size", accelerator.gpu_partition_size


_EFFECTS = {
    "NO_SCHEDULE": "NoSchedule",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
    "NO_EXECUTE": "NoExecute",
}


def _taints(pool: container_v1.NodePool) -> Iterable[dict[str, str]]:
    for taint in pool.config.taints:
        yield {"key": taint.key, "value": taint.value, "effect": _EFFECTS[taint.effect.name]}
    if pool.config.accelerators:  # GKE's own doing
        yield {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def _devices(accelerator: container_v1.AcceleratorConfig) -> int:
    if size := accelerator.gpu_partition_size:
        return int(accelerator.accelerator_count) * (7 // int(size.partition("g.")[0]))
    return int(accelerator.accelerator_count)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
