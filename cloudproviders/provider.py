"""What a cloud must do for the provisioner: Karpenter's verbs, spoken in `Instance`s."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.instancetype import InstanceType
from cloudproviders.nodeclass import READY, NodeClass, NodeClassStatus
from kube.meta import Resource
from kube.objects import Node


class GroupKind(NamedTuple):
    """A kind of node class; claims that refer to one of a cloud's kinds are that cloud's."""

    group: str
    kind: str

    @property
    def label(self) -> str:
        """The label that names the node class on claims and nodes (`kaito.sh/kaitonodeclass`)."""
        return f"{self.group}/{self.kind.lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A machine as the cloud knows it, with the identity of the claim that it was made for.

    `provider_id` is "" while the cloud has not told it yet. `capacity` and `allocatable` are
    estimates, known before the machine has booted. `labels` and `annotations` go to the claim.
    """

    provider_id: str
    name: str
    claim_name: str
    claim_uid: str
    instance_type: str = ""
    zone: str = ""
    capacity_type: str = ""
    image_id: str = ""
    capacity: Mapping[str, str] = field(default_factory=dict)
    allocatable: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    terminating: bool = False
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The cloud has taken the order and is at work; there is no machine to speak of yet.

    `message` is what the user reads on Launched meanwhile: the cloud's own state, and since when.
    `look_again` in seconds: `create` wants to be asked again then, or as soon as a Node joins for
    which `claim_of` gives the claim.
    """

    message: str
    look_again: float
    reason: str = "Provisioning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """A notice that the cloud will take a machine back, or already has. `kind` is Karpenter's
    reason for its metric: spot_interrupted, rebalance_recommendation, scheduled_change,
    instance_stopped, instance_terminated, capacity_reservation_interrupted, instance_status …

    `deadline` is when the machine goes, None where nobody knows; now, where it is past use.
    `advisory`: tell, do nothing. `sent`: when the cloud gave notice, where it says so.
    `acknowledge` is awaited once all has been done that the notice asks for.
    """

    kind: str
    provider_id: str
    message: str
    deadline: datetime | None = None
    advisory: bool = False
    acknowledge: Callable[[], Awaitable[None]] | None = None
    sent: datetime | None = None


@dataclass(frozen=True, slots=True)
class RepairPolicy:
    """A node condition that, left standing for `toleration`, makes the node worth replacing."""

    condition_type: str
    condition_status: str
    toleration: timedelta


RegistrationHook = Callable[[NodeClaim, Node], Awaitable[Mapping[str, str] | float | None]]
"""Holds registration: None to pass, else seconds until it wants to be asked again. Labels pass too,
and go to claim and Node. It may be asked again after it has passed, and must then say the same. Its
`__name__` is what the claim says of it."""


class CloudProvider(Protocol):
    """A cloud. Refusals are those of `cloudproviders.errors`; the rest is transient.

    Providers inherit from this class: verbs with a body are those that not every cloud needs.
    """

    @property
    def name(self) -> str:
        """The value of the `provider` label of metrics."""
        ...

    @property
    def node_classes(self) -> Sequence[GroupKind]:
        """The kinds of node class that make a claim this cloud's; the first is the default."""
        ...

    @property
    def repair_policies(self) -> Sequence[RepairPolicy]:
        """Empty where nodes are not to be repaired."""
        ...

    @property
    def node_class_resources(self) -> Sequence[Resource[NodeClass]]:
        """Of `node_classes`, those that are objects with a say: kept ready, and looked up."""
        return ()

    @property
    def registration_hooks(self) -> Sequence[RegistrationHook]:
        """What must have happened in the cloud before pods may land on a node."""
        return ()

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        """The claim's one instance, made now or before: idempotent on the claim's uid.

        Neither waits for the cloud's long operations nor for the machine to boot. Raises
        InsufficientCapacityError, NodeClassNotReadyError or CreateError.
        """
        ...

    async def delete(self, claim: NodeClaim, /) -> None:
        """Start the end of the claim's instance; raise NodeClaimNotFoundError once it is gone.

        The caller repeats until then, so a lost call costs nothing, and must be cheap when the
        end has begun. The instance is found by the claim's name and uid, so that one whose
        provider id was never recorded is found too.
        """
        ...

    async def get(self, provider_id: str, /) -> Instance:
        """The instance; NodeClaimNotFoundError when it is gone."""
        ...

    async def list(self) -> Sequence[Instance]:
        """Every instance that was made for a claim, those whose claim is gone included."""
        ...

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        """All types known, even those that cannot be had now."""
        ...

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        """Why the instance is no longer what the claim's node class asks for; "" if it is."""
        ...

    def claim_of(self, node: Node, /) -> str:
        """The name of the claim that a joining Node was made for, where the cloud's own labels
        tell it before the claim knows the Node's provider id; "" where they do not. Pure."""
        return ""

    async def resolve(self, node_class: NodeClass, /) -> NodeClassStatus:
        """What the class stands for in the cloud now, and whether it can be launched from."""
        return READY

    async def interruptions(self) -> AsyncIterator[Interruption]:
        """Notices from outside the cluster, as they come; ends at once where the cloud has none."""
        return
        yield

    def interrupted(self, node: Node, now: datetime, /) -> Interruption | None:
        """A notice that stands on the Node itself (a condition, a taint). Pure."""
        return None

    async def close(self) -> None:
        """Release connections and background work; instances stay."""
        ...
