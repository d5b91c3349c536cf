"""AWS as the conformance suite sees it: EC2 fleets, and EKS managed node groups.

Of calls, those count that make or end machines, one for each machine: one request may end many,
and a launch template is shared by all claims that boot alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, ClassVar, Self

import cloudproviders
from cloudproviders.aws import errors, tags
from cloudproviders.aws import settings as settings_
from cloudproviders.aws.nodegroups import MEMORY_SECONDS, NodeGroupProvider
from cloudproviders.aws.provider import AwsProvider
from cloudproviders.aws.sdk import OPERATIONS, Amazon
from cloudproviders.provider import CloudProvider
from tests.conformance.cloudprovider.world import Ability, Kind, Machine, Verb, World
from tests.fakes.aws import backend, kubelets
from tests.fakes.aws.emulator import Emulator

CLUSTER = "conformance"
QUEUE = "notices"
QUEUE_SECONDS = 1
ATTEMPTS = 2
"""Of the SDK, at each call: whoever loses an answer for good has to lose so many."""
SECRET = "a-secret-access-key-that-nobody-must-read"

_KINDS = {
    errors.Kind.OFFERING: Kind.CAPACITY,
    errors.Kind.SUBNET: Kind.CAPACITY,
    errors.Kind.QUOTA: Kind.QUOTA,
    errors.Kind.SPOT: Kind.CAPACITY,
    errors.Kind.CONFIGURATION: Kind.CONFIGURATION,
    errors.Kind.TRANSIENT: Kind.TRANSIENT,
}
NOT_OF_FLEETS = frozenset({"ParameterNotFound", "ResourceLimitExceededException"})
"""Codes of other services, which CreateFleet never answers."""

READS = frozenset(
    "".join(word.title() for word in name.split("_"))
    for name in OPERATIONS
    if name.startswith(("describe", "get", "list"))
)


class AwsWorld(World):
    """EC2 fleets against the emulator."""

    abilities: ClassVar[frozenset[Ability]] = frozenset(
        {
            Ability.ZONES,
            Ability.SPOT,
            Ability.NODES,
            Ability.COUNTED,
            Ability.REFUSALS,
            Ability.THROTTLING,
            Ability.CREDENTIALS,
            Ability.FOREIGN,
        }
    )
    documented_codes: ClassVar[Mapping[str, Kind]] = {
        code: _KINDS[meaning.kind]
        for code, meaning in errors.MEANINGS.items()
        if code not in NOT_OF_FLEETS
    }
    types: ClassVar[tuple[str, str]] = ("g5.xlarge", "g5.2xlarge")
    zones: ClassVar[tuple[str, ...]] = ("us-east-1a", "us-east-1b")
    stock_out: ClassVar[str] = "InsufficientInstanceCapacity"
    secrets = (SECRET,)
    mode: ClassVar[str] = settings_.EC2
    group_seconds: ClassVar[float] = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.emulator = Emulator(clock=self.clock, group_seconds=self.group_seconds)
        self.queue = QUEUE
        self._made: list[CloudProvider] = []

    async def __aenter__(self) -> Self:
        await self.emulator.__aenter__()
        await self.emulator.prepare(CLUSTER)
        self.provider = self._process()
        self.emulator.heard = self._count
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for provider in self._made:
            await provider.close()
        await self.emulator.__aexit__(kind, error, traceback)

    async def restart(self) -> CloudProvider:
        self.provider = self._process()
        return self.provider

    async def another(self) -> CloudProvider:
        return self._process()

    async def machines(self) -> Sequence[Machine]:
        found = await self.emulator.machines()
        return [
            Machine(each["InstanceId"], _claim_uid(tags.as_map(each.get("Tags")))) for each in found
        ]

    async def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        running = {each["InstanceId"] for each in await self.emulator.machines()}
        for id, launched in self.emulator.launched().items():
            node = kubelets.boot(launched)
            if id in running:
                self.join(node.provider_id, node.name, node_labels=node.labels, taints=node.taints)
            else:
                self.leave(node.name)
        await asyncio.sleep(0)

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
        self.emulator.refuse(
            code,
            f"An error of EC2: {words}. Encoded authorization failure message: {SECRET}",
            times=times,
            instance_type=instance_type,
            zone=zone,
            capacity_type=capacity_type,
        )

    def relent(self) -> None:
        self.emulator.relent()

    def lose_next_answer(self, verb: Verb) -> None:
        action = {"create": "CreateFleet", "delete": "TerminateInstances"}[verb]
        self.emulator.lose_answer(action, times=ATTEMPTS)

    def throttle(self, times: int, retry_after: float = 1.0) -> None:
        self.emulator.throttle(times)

    def away(self) -> AbstractAsyncContextManager[None]:
        return self.emulator.away()

    def expired_credentials(self) -> AbstractAsyncContextManager[None]:
        return self.emulator.expired()

    async def foreign_instance(self, name: str = "") -> str:
        return await asyncio.to_thread(_somebodys_machine, name)

    def _process(self) -> CloudProvider:
        given = settings_.of(
            {
                "AWS_REGION": backend.REGION,
                "AWS_CLUSTER_NAME": CLUSTER,
                "AWS_MODE": self.mode,
                "AWS_NODE_ROLE_ARN": f"arn:aws:iam::{backend.ACCOUNT}:role/nodes",
                "AWS_INSTANCE_PROFILE": "nodes",
                "AWS_INTERRUPTION_QUEUE": self.queue,
                "AWS_ENDPOINT_URL": self.emulator.url,
                "AWS_ACCESS_KEY_ID": "AKIACONFORMANCE",
                "AWS_SECRET_ACCESS_KEY": SECRET,
            }
        )
        amazon = Amazon(given, read_seconds=5.0, attempts=ATTEMPTS)
        known = cloudproviders.instance_types("aws")
        kind: type[NodeGroupProvider] | type[AwsProvider]
        kind = NodeGroupProvider if self.mode == settings_.NODE_GROUP else AwsProvider
        made = kind(
            amazon, self.client, given, known, clock=self.clock, queue_wait_seconds=QUEUE_SECONDS
        )
        self._made.append(made)
        return made

    def _count(self, action: str, machines: int) -> None:
        if action in READS:
            self.calls.reads += 1
        self.calls.writes += machines


def _claim_uid(marked: Mapping[str, str]) -> str:
    return marked.get(tags.CLAIM_UID_TAG, "") if marked.get(tags.OWNER_TAG) == CLUSTER else ""


def _somebodys_machine(name: str) -> str:
    """Of another cluster in the same account, whose claim had the same name."""
    ec2 = backend.client("ec2")
    theirs = {
        tags.OWNER_TAG: "another",
        tags.CLAIM_TAG: name or "theirs",
        tags.CLAIM_UID_TAG: "theirs",
    }
    answer = ec2.run_instances(
        ImageId="ami-03cf127a",
        MinCount=1,
        MaxCount=1,
        InstanceType="g5.xlarge",
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags.as_list(theirs)}],
    )
    return str(answer["Instances"][0]["InstanceId"])


class AwsNodeGroupWorld(AwsWorld):
    """EKS managed node groups against the emulator: a machine is a group."""

    abilities: ClassVar[frozenset[Ability]] = frozenset(
        {
            Ability.ZONES,
            Ability.SPOT,
            Ability.PENDING,
            Ability.LATE,
            Ability.NODES,
            Ability.COUNTED,
            Ability.REFUSALS,
            Ability.THROTTLING,
            Ability.CREDENTIALS,
        }
    )
    documented_codes: ClassVar[Mapping[str, Kind]] = {
        "InvalidParameterException": Kind.CONFIGURATION,
        "ResourceLimitExceededException": Kind.CONFIGURATION,
        "AccessDeniedException": Kind.CONFIGURATION,
        "ServerException": Kind.TRANSIENT,
        "ServiceUnavailableException": Kind.TRANSIENT,
        "ThrottlingException": Kind.TRANSIENT,
    }
    mode: ClassVar[str] = settings_.NODE_GROUP
    group_seconds: ClassVar[float] = 30.0
    memory_seconds: ClassVar[float] = MEMORY_SECONDS

    async def machines(self) -> Sequence[Machine]:
        return [
            Machine(name, plan.wire["tags"].get(tags.CLAIM_UID_TAG, ""))
            for name, plan in self.emulator.groups.standing().items()
        ]

    async def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for name, plan in self.emulator.groups.standing().items():
            if self.emulator.groups.status(name) == "ACTIVE":
                node = kubelets.of_group(plan.wire, plan.zone)
                self.join(node.provider_id, node.name, node_labels=node.labels, taints=node.taints)
        await asyncio.sleep(0)

    def refuse(self, code: str, *, words: str = "", late: bool = False, **matching: Any) -> None:
        times = matching.pop("times", None)
        if late or code in {self.stock_out}:
            self.emulator.groups.refuse(code, words, **matching)
            return
        status = 503 if code == "ServiceUnavailableException" else 400
        status = 500 if code == "ServerException" else status
        self.emulator.fail(
            "CreateNodegroup", code, f"EKS: {words}", status=status, times=times or 1000
        )

    def relent(self) -> None:
        self.emulator.faults.clear()
        self.emulator.relent()

    def lose_next_answer(self, verb: Verb) -> None:
        action = {"create": "CreateNodegroup", "delete": "DeleteNodegroup"}[verb]
        self.emulator.lose_answer(action, times=ATTEMPTS)

    def throttle(self, times: int, retry_after: float = 1.0) -> None:
        for _ in range(times):
            self.emulator.fail("", "ThrottlingException", "Rate exceeded", status=429)
