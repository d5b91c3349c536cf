"""What the conformance suite needs to know of a cloud: its emulator, seen as a world.

The author of a provider writes one `World` over an emulator that speaks the vendor's protocol. The
suite talks to the provider as the provisioner does, and to the world as fate and as the auditor do:
it lets the cloud refuse, lose, throttle and forget, and asks it in the end what machines there are.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, cast

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.errors import NodeClaimNotFoundError
from cloudproviders.provider import CloudProvider, Instance, Pending
from cloudproviders.unavailable import TTL_SECONDS
from kube.client import Client
from kube.objects import NODES, Node
from tests.fakes import objects
from tests.fakes.clock import FakeClock
from tests.fakes.memorykube import MemoryKube

T = TypeVar("T")

ROUNDS = 100
"""So often a claim is reconciled before the suite gives the machine up for lost."""

POLL_SECONDS = 5.0
"""Between two looks at a machine that is going: the provisioner's own interval."""

Verb = Literal["create", "delete"]


class Kind(Enum):
    """What a code of the vendor comes to."""

    CAPACITY = auto()
    """OfferingRefusedError for the rung; InsufficientCapacityError where it was the last."""
    QUOTA = auto()
    """CreateError: the user reads which quota. For those that no other rung gets round."""
    CONFIGURATION = auto()
    """CreateError: the user, or the operator, has to change something."""
    NODE_CLASS = auto()
    """NodeClassNotReadyError."""
    TRANSIENT = auto()
    """CloudUnavailableError or Pending; the next call may succeed."""


class Ability(Enum):
    """What not every cloud has; tests of what a world does not claim are skipped."""

    ZONES = auto()
    """Machines have one; `zones` names those, best two, where `types[0]` can be had."""
    SPOT = auto()
    """`types[0]` is sold as spot and on-demand."""
    PENDING = auto()
    """Orders take time: create answers Pending at first, delete does not end at once."""
    LATE = auto()
    """Orders can be refused after they were taken: `refuse(late=True)`."""
    NODES = auto()
    """The world lets Nodes join, with the labels and taints that the order gave them."""
    COUNTED = auto()
    """`calls` counts the requests that reach the cloud."""
    REFUSALS = auto()
    """`refuse` can answer with any code of the vendor, also with one that nobody knows."""
    THROTTLING = auto()
    """The cloud says "too many requests" to a client that is too busy."""
    CREDENTIALS = auto()
    """The provider shows credentials, which can expire."""
    FOREIGN = auto()
    """Machines of somebody else can exist beside ours."""


class Machine(NamedTuple):
    """A machine as the emulator knows it. `claim_uid` is "" for one of somebody else."""

    id: str
    claim_uid: str


@dataclass
class Calls:
    """Requests that reached the cloud; those for tokens do not count."""

    reads: int = 0
    writes: int = 0


class World(ABC):
    """One cloud, its emulator, and processes of ours over it. Made afresh for every test.

    An async context manager: `__aenter__` starts the emulator and makes `provider`; `__aexit__`
    closes both, and whatever `restart` and `another` made.
    """

    abilities: ClassVar[frozenset[Ability]] = frozenset()
    documented_codes: ClassVar[Mapping[str, Kind]] = {}
    """Every error code that the vendor documents for what the provider calls. Keys are what
    `refuse` takes: the code; `code/variant` where the vendor means several things by one."""
    types: ClassVar[tuple[str, str]]
    """Two instance types that the emulator has, as on-demand; the first is tried first."""
    zones: ClassVar[tuple[str, ...]] = ()
    stock_out: ClassVar[str] = ""
    """The documented code for "no machine of this type here now", of kind CAPACITY."""
    unknown_code: ClassVar[str] = "BrandNewVendorCode"
    memory_seconds: ClassVar[float] = TTL_SECONDS
    """For how long the provider remembers a stock-out."""
    secrets: Sequence[str] = ()
    """What must never be read in an error: tokens, keys, passwords."""
    reads_to_create: ClassVar[float] = 3
    """On average, of claims that are launched at the same time; the writes are 1 each."""
    reads_to_delete: ClassVar[float] = 2
    node_class: ClassVar[Mapping[str, str]] = objects.KAITO_NODE_CLASS
    provider: CloudProvider
    """The process of now."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        """For the provider and its emulator: nobody sleeps in earnest."""
        self.kube = MemoryKube(self.clock)
        """Where Nodes join."""
        self.calls = Calls()

    # What the cloud's author writes.

    @abstractmethod
    async def __aenter__(self) -> World: ...

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    @abstractmethod
    async def restart(self) -> CloudProvider:
        """The process dies, and another starts with empty hands; it is `provider` from now on."""

    @abstractmethod
    async def another(self) -> CloudProvider:
        """A second process beside the first: a replica that has not lost its lease yet."""

    @abstractmethod
    async def machines(self) -> Sequence[Machine]:
        """All that exist or are being made or unmade, by the emulator's own books. Not a call."""

    @abstractmethod
    async def tick(self, seconds: float) -> None:
        """Time passes, for the provider and the cloud: operations end, machines boot, Nodes join.
        A world whose emulator keeps real time makes its operations take next to none."""

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
        """Orders that match ("" is any) are refused so often, None for ever, until `relent`.

        The answer has the vendor's status, code and message, and `words` somewhere in it. `late`:
        the order is taken, and comes to nothing afterwards.
        """
        raise NotImplementedError

    def relent(self) -> None:
        """No more refusals."""
        raise NotImplementedError

    def lose_next_answer(self, verb: Verb) -> None:
        """The next write of that kind is done, but its answer never arrives."""
        raise NotImplementedError

    def throttle(self, times: int, retry_after: float = 1.0) -> None:
        """The next requests are answered "too many", with the pause that the vendor asks for."""
        raise NotImplementedError

    def away(self) -> AbstractAsyncContextManager[None]:
        """Inside, the cloud cannot be reached."""
        raise NotImplementedError

    def expired_credentials(self) -> AbstractAsyncContextManager[None]:
        """Inside, whatever the provider shows is refused; afterwards new ones can be had."""
        raise NotImplementedError

    async def foreign_instance(self, name: str = "") -> str:
        """A machine of another cluster or of the user's own; its id in `machines`. `name`: that
        a machine for a claim of this name would have, where the cloud knows machines by names."""
        raise NotImplementedError

    # What every world has.

    @property
    def client(self) -> Client:
        """The cluster, for providers that read it."""
        return cast("Client", self.kube)

    def claim(
        self,
        name: str = "ws0a1b2c3d4",
        *,
        uid: str = "",
        instance_types: Iterable[str] = (),
        zones: Iterable[str] = (),
        capacity_types: Iterable[str] = (),
        requests: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> NodeClaim:
        """As KAITO writes it, for `types[0]` where nothing else is asked for."""
        wanted = {
            labels.INSTANCE_TYPE_LABEL: list(instance_types) or [self.types[0]],
            labels.ZONE_LABEL: list(zones),
            labels.CAPACITY_TYPE_LABEL: list(capacity_types),
        }
        return objects.claim(
            name,
            uid=uid or str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            node_class_ref=dict(self.node_class),
            labels={"kaito.sh/workspace": "phi", "kaito.sh/workspacenamespace": "default"},
            requirements=[
                {"key": key, "operator": "In", "values": values}
                for key, values in wanted.items()
                if values
            ],
            resources={"requests": {"storage": "128Gi", **(requests or {})}},
            **spec,
        )

    async def launched(self, claim: NodeClaim) -> Instance:
        """As the life cycle does it: create is called again and again, until it has a machine."""
        (made,) = await self.all_launched([claim])
        return made

    async def all_launched(self, claims: Sequence[NodeClaim]) -> list[Instance]:
        """All of them beside each other, whatever time that takes."""
        made: dict[str, Instance] = {}
        for _ in range(ROUNDS):
            left = [claim for claim in claims if claim.metadata.uid not in made]
            answers = await _together(self.provider.create(claim) for claim in left)
            pauses = [each.look_again for each in answers if isinstance(each, Pending)]
            for claim, answer in zip(left, answers, strict=True):
                if isinstance(answer, Instance):
                    made[claim.metadata.uid] = answer
            if not pauses:
                return [made[claim.metadata.uid] for claim in claims]
            await self.tick(min(pauses))
        raise AssertionError(f"not launched after {ROUNDS} rounds: {answers}")

    async def gone(self, *claims: NodeClaim) -> None:
        """As the life cycle does it: delete is called again and again, until it says so."""
        left = list(claims)
        for _ in range(ROUNDS):
            gone = await _together(self._deleted(claim) for claim in left)
            left = [claim for claim, is_gone in zip(left, gone, strict=True) if not is_gone]
            if not left:
                return
            await self.tick(POLL_SECONDS)
        raise AssertionError(f"not gone after {ROUNDS} rounds: {left}")

    async def _deleted(self, claim: NodeClaim) -> bool:
        try:
            await self.provider.delete(claim)
        except NodeClaimNotFoundError:
            return True
        return False

    async def machines_of(self, claim: NodeClaim) -> list[Machine]:
        uid = claim.metadata.uid
        return [machine for machine in await self.machines() if machine.claim_uid == uid]

    def join(
        self,
        provider_id: str,
        name: str,
        *,
        node_labels: Mapping[str, str],
        taints: Iterable[Mapping[str, str]] = (),
    ) -> None:
        """A kubelet registers its Node, unless it has already: for `tick` to call."""
        if self.kube.manifest(NODES, name) is None:
            self.kube.add(
                objects.node_manifest(
                    provider_id,
                    name,
                    taints=[dict(taint) for taint in taints],
                    labels=dict(node_labels),
                )
            )

    def leave(self, name: str) -> None:
        """A Node goes with its machine."""
        self.kube.vanish(NODES, name)

    async def node_of(self, instance: Instance) -> Node:
        """The Node that has joined for it; the machine gets its time to boot."""
        for _ in range(ROUNDS):
            for node in (await self.kube.list(NODES)).items:
                if node.spec.provider_id == instance.provider_id:
                    return node
            await self.tick(POLL_SECONDS)
        raise AssertionError(f"no Node has joined with provider id {instance.provider_id}")


async def _together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All of them at once, to their end; then the first failure, if there was one."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[T]", results)
