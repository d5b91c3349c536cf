"""A cloud that keeps its machines in a dict: CloudProvider as the contract has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.errors import InsufficientCapacityError, NodeClaimNotFoundError
from cloudproviders.instancetype import InstanceType
from cloudproviders.nodeclass import READY, NodeClass, NodeClassStatus
from cloudproviders.provider import (
    CloudProvider,
    GroupKind,
    Instance,
    Pending,
    RegistrationHook,
    RepairPolicy,
)
from kube.clock import Clock
from kube.meta import Resource


class FakeCloud(CloudProvider):
    """Its machines outlive every controller. `instances` are those that exist, by claim uid."""

    name = "fake"
    node_classes: Sequence[GroupKind] = (GroupKind("kaito.sh", "KaitoNodeClass"),)
    repair_policies: Sequence[RepairPolicy] = ()
    node_class_resources: Sequence[Resource[NodeClass]] = ()
    registration_hooks: Sequence[RegistrationHook] = ()

    def __init__(self, clock: Clock | None = None, *, lingers: bool = False) -> None:
        """`lingers`: a machine is seen terminating until `finish_terminating`."""
        self.instances: dict[str, Instance] = {}
        self.made: list[str] = []
        """The uid of the claim for every machine that was ever bought."""
        self.types: Sequence[InstanceType] = ()
        self.capacity: Mapping[str, str] = {"cpu": "8", "nvidia.com/gpu": "1"}
        """What is told of every machine; `{}` for a cloud that tells nothing."""
        self.class_status: NodeClassStatus = READY
        """What is found out about every node class."""
        self.sells = True
        """Whether there is anything to be had."""
        self.outage: Exception | None = None
        """While it stands, no call gets through."""
        self.calls: list[tuple[str, str]] = []
        """(verb, uid of the claim) of every create and delete that was asked for."""
        self._pending: list[Pending] = []
        self._clock = clock
        self._lingers = lingers
        self._refusals: list[Exception] = []
        self._delete_failures: list[Exception] = []

    def refuses_next(self, *errors: Exception) -> None:
        """Answer the next creates with these, one each."""
        self._refusals += errors

    def is_at_work(self, *answers: Pending) -> None:
        """Take the next order, and say this of it, one look each."""
        self._pending += answers

    def count(self, verb: str) -> int:
        return sum(called == verb for called, _ in self.calls)

    def fails_next_delete(self, *errors: Exception) -> None:
        self._delete_failures += errors

    def loses(self, provider_id: str) -> None:
        """The machine vanishes behind everybody's back."""
        self.instances = {
            uid: each for uid, each in self.instances.items() if each.provider_id != provider_id
        }

    def finish_terminating(self) -> None:
        self.instances = {uid: each for uid, each in self.instances.items() if not each.terminating}

    def _called(self, verb: str, uid: str = "") -> None:
        if uid:
            self.calls.append((verb, uid))
        if self.outage is not None:
            raise self.outage

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        self._called("create", claim.metadata.uid)
        if (existing := self.instances.get(claim.metadata.uid)) is not None:
            return existing
        if self._refusals:
            raise self._refusals.pop(0)
        if not self.sells:
            raise InsufficientCapacityError("sold out")
        if self._pending:
            return self._pending.pop(0)
        name, uid = claim.metadata.name, claim.metadata.uid
        instance_type = next(
            (
                requirement.values[0]
                for requirement in claim.spec.requirements
                if requirement.key == "node.kubernetes.io/instance-type"
            ),
            "fake-gpu-1",
        )
        self.made.append(uid)
        self.instances[uid] = Instance(
            provider_id=f"fake:///{name}/{len(self.made)}",
            name=name,
            claim_name=name,
            claim_uid=uid,
            instance_type=instance_type,
            zone="fake-a",
            capacity_type="on-demand",
            image_id="image-1",
            capacity=self.capacity,
            allocatable={**self.capacity, "cpu": "7"} if self.capacity else {},
            labels={"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"},
            created=self._clock.now() if self._clock else datetime.now(UTC),
        )
        return self.instances[uid]

    async def delete(self, claim: NodeClaim, /) -> None:
        self._called("delete", claim.metadata.uid)
        if self._delete_failures:
            raise self._delete_failures.pop(0)
        instance = self.instances.get(claim.metadata.uid)
        if instance is None:
            raise NodeClaimNotFoundError(claim.metadata.name)
        if self._lingers:
            self.instances[claim.metadata.uid] = replace(instance, terminating=True)
        else:
            del self.instances[claim.metadata.uid]

    async def get(self, provider_id: str, /) -> Instance:
        self._called("get")
        for instance in self.instances.values():
            if instance.provider_id == provider_id:
                return instance
        raise NodeClaimNotFoundError(provider_id)

    async def list(self) -> Sequence[Instance]:
        self._called("list")
        return list(self.instances.values())

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        self._called("instance_types")
        return self.types

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        return ""

    async def resolve(self, node_class: NodeClass, /) -> NodeClassStatus:
        self._called("resolve")
        return self.class_status

    async def close(self) -> None:
        """Nothing is held."""
