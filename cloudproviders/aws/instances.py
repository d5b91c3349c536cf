"""EC2 instances that were made for claims, and the one shared look at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from apis.karpenter.v1 import labels
from cloudproviders.aws import errors, tags
from cloudproviders.aws.coalescing import Coalesced
from cloudproviders.aws.sdk import Amazon, Wire
from cloudproviders.errors import CloudUnavailableError
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.provider import Instance
from kube.clock import Clock

PROVIDER_ID_PREFIX = "aws:///"

GONE = frozenset({"terminated"})
GOING = frozenset({"shutting-down", "terminated"})

LEARNED_SECONDS = 60.0
"""EC2's lists may be behind: what we have made ourselves is believed without them for so long."""

TERMINATE_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An instance as EC2 tells it. `state` is one of pending, running, shutting-down, …"""

    id: str
    type: str
    zone: str
    state: str
    tags: Mapping[str, str] = field(default_factory=dict)
    lifecycle: str = ""
    image: str = ""
    subnet: str = ""
    security_groups: frozenset[str] = frozenset()
    launched: datetime | None = None

    @classmethod
    def of(cls, wire: Wire) -> Machine:
        return cls(
            id=wire["InstanceId"],
            type=wire.get("InstanceType", ""),
            zone=wire.get("Placement", {}).get("AvailabilityZone", ""),
            state=wire.get("State", {}).get("Name", ""),
            tags=tags.as_map(wire.get("Tags")),
            lifecycle=wire.get("InstanceLifecycle", ""),
            image=wire.get("ImageId", ""),
            subnet=wire.get("SubnetId", ""),
            security_groups=frozenset(
                group["GroupId"] for group in wire.get("SecurityGroups") or ()
            ),
            launched=wire.get("LaunchTime"),
        )

    @property
    def provider_id(self) -> str:
        """As the AWS cloud controller and the kubelets of EKS spell it."""
        return f"{PROVIDER_ID_PREFIX}{self.zone}/{self.id}"

    @property
    def claim_uid(self) -> str:
        return self.tags.get(tags.CLAIM_UID_TAG, "")

    @property
    def gone(self) -> bool:
        return self.state in GONE

    @property
    def going(self) -> bool:
        return self.state in GOING

    @property
    def capacity_type(self) -> str:
        if kind := self.tags.get(tags.CAPACITY_TYPE_TAG):
            return kind
        return labels.CAPACITY_SPOT if self.lifecycle == "spot" else labels.CAPACITY_ON_DEMAND

    def instance(self, known: InstanceType | None) -> Instance:
        """In the contract's words; `known` is the machine's type, where the catalogue has it."""
        offering = Offering(zone=self.zone, capacity_type=self.capacity_type)
        return Instance(
            provider_id=self.provider_id,
            name=self.id,
            claim_name=self.tags.get(tags.CLAIM_TAG, ""),
            claim_uid=self.claim_uid,
            instance_type=self.type,
            zone=self.zone,
            capacity_type=self.capacity_type,
            image_id=self.image,
            capacity=known.capacity if known else {},
            allocatable=known.allocatable if known else {},
            labels=known.labels_at(offering) if known else {},
            terminating=self.going,
            created=self.launched,
        )


class Instances:
    """All machines of the cluster that are ours. One look serves everybody who asks meanwhile."""

    def __init__(self, amazon: Amazon, cluster: str, clock: Clock) -> None:
        self._amazon = amazon
        self._cluster = cluster
        self._clock = clock
        self._seen: dict[str, Machine] = {}
        self._at: float | None = None
        self._learned: dict[str, tuple[float, Machine]] = {}
        self._look = Coalesced(self._describe)
        self._terminate = Coalesced(self._terminate_all)

    async def all(self, max_age: float = 0.0) -> Sequence[Machine]:
        """Those that are not gone, as seen no more than so many seconds ago."""
        if self._at is None or self._clock.monotonic() - self._at >= max_age:
            await self._look()
        return [machine for machine in self._known().values() if not machine.gone]

    async def of_claim(self, uid: str, max_age: float = 0.0) -> list[Machine]:
        """The claim's machines, the eldest first. Ordinarily one at the most."""
        found = [each for each in await self.all(max_age) if each.claim_uid == uid]
        return sorted(found, key=lambda each: (str(each.launched), each.id))

    async def find(self, id: str, max_age: float = 0.0) -> Machine | None:
        """By EC2's id; also one that is gone, as long as EC2 knows it."""
        await self.all(max_age)
        return self._known().get(id)

    async def learn(self, machine: Machine) -> Machine:
        """A machine that we have just made, with what EC2 knows more of it by now."""
        self._remember(machine)
        with suppress(CloudUnavailableError):  # it exists, whether we see it or not
            await self._look()
        return self._known()[machine.id]

    async def terminate(self, machines: Iterable[Machine]) -> None:
        """Start the end of those whose end has not begun."""
        if ids := [machine.id for machine in machines if not machine.going]:
            await self._terminate(*ids)

    async def close(self) -> None:
        await self._look.close()
        await self._terminate.close()

    def _known(self) -> dict[str, Machine]:
        """What was seen, and what is too new to be seen or was changed by us since."""
        now = self._clock.monotonic()
        self._learned = {id: each for id, each in self._learned.items() if each[0] > now}
        found = dict(self._seen)
        for id, (_, machine) in self._learned.items():
            if id not in found or (machine.going and not found[id].going):
                found[id] = machine
        return found

    def _remember(self, machine: Machine) -> None:
        self._learned[machine.id] = (self._clock.monotonic() + LEARNED_SECONDS, machine)

    async def _describe(self, _: Sequence[str]) -> None:
        asked = self._clock.monotonic()
        reservations = await self._amazon.all(
            "describe_instances",
            "Reservations",
            Filters=tags.as_filters(tags.filters({tags.OWNER_TAG: self._cluster})),
        )
        found = [Machine.of(wire) for each in reservations for wire in each["Instances"]]
        self._seen = {machine.id: machine for machine in found if machine.claim_uid}
        self._at = asked

    async def _terminate_all(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), TERMINATE_AT_ONCE):
            await self._terminate_some(ids[start : start + TERMINATE_AT_ONCE])

    async def _terminate_some(self, ids: Sequence[str]) -> None:
        try:
            answer = await self._amazon.call("terminate_instances", InstanceIds=list(ids))
        except errors.ServiceError as refused:
            if refused.code not in errors.NOT_FOUND:
                raise
            if len(ids) > 1:  # EC2 refuses all for one that is gone
                for id in ids:
                    await self._terminate_some([id])
                return
            answer = {
                "TerminatingInstances": [
                    {"InstanceId": ids[0], "CurrentState": {"Name": "terminated"}}
                ]
            }
        for each in answer["TerminatingInstances"]:
            self._ended(each["InstanceId"], each["CurrentState"]["Name"])

    def _ended(self, id: str, state: str) -> None:
        if (machine := self._known().get(id)) is not None:
            self._remember(replace(machine, state=state))
