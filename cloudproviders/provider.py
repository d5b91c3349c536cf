"""What a cloud must do for the provisioner: Karpenter's verbs, spoken in `Instance`s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.instancetype import InstanceType


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

    `capacity` and `allocatable` are estimates, known before the machine has booted.
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
    terminating: bool = False
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class RepairPolicy:
    """A node condition that, left standing for `toleration`, makes the node worth replacing."""

    condition_type: str
    condition_status: str
    toleration: timedelta


class CloudProvider(Protocol):
    """A cloud. Refusals are those of `cloudproviders.errors`; the rest is transient."""

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

    async def create(self, claim: NodeClaim, /) -> Instance:
        """The claim's one instance, made now or before: idempotent on the claim's uid.

        Does not wait for the machine to boot. Raises InsufficientCapacityError,
        NodeClassNotReadyError or CreateError.
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

    async def close(self) -> None:
        """Release connections and background work; instances stay."""
        ...
