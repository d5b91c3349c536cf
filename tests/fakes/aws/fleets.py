"""CreateFleet as EC2 answers it: refusals per override, client tokens, reservations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.fakes.aws import wire
from tests.fakes.aws.wire import Answer, Asked

WHOLE = frozenset(
    {
        "AccessDenied",
        "IdempotentParameterMismatch",
        "InternalFailure",
        "InvalidLaunchTemplateName.NotFoundException",
        "InvalidParameterValue",
        "OptInRequired",
        "PendingVerification",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "Unavailable",
        "UnauthorizedOperation",
    }
)
"""Codes that EC2 answers a whole request with; others stand in the answer, for each override."""

STATUSES = {
    "InternalFailure": 500,
    "RequestLimitExceeded": 503,
    "ServiceUnavailable": 503,
    "Unavailable": 503,
    "UnauthorizedOperation": 403,
}
_INSTANCE = re.compile(rb"<instanceIds><item>(?P<id>[^<]+)</item>")


@dataclass
class Refusal:
    """Of what matches, "" being any; `times` None: for ever."""

    code: str
    message: str
    instance_type: str = ""
    zone: str = ""
    capacity_type: str = ""
    times: int | None = None

    def matches(self, override: Mapping[str, str], capacity_type: str) -> bool:
        return (
            self.times != 0
            and self.instance_type in {"", override["InstanceType"]}
            and self.zone in {"", override["AvailabilityZone"]}
            and self.capacity_type in {"", capacity_type}
        )

    def used(self) -> None:
        if self.times is not None:
            self.times -= 1


@dataclass
class Reservation:
    """A capacity reservation; `free` machines are left of it."""

    id: str
    instance_type: str
    zone: str
    free: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)
    kind: str = "default"


@dataclass(frozen=True)
class Launched:
    """A machine, and what it boots with: `template` is EC2's form of the launch template."""

    id: str
    instance_type: str
    zone: str
    template: Mapping[str, str]


class Fleets:
    """`forward` sends a request on to moto."""

    def __init__(self, forward: Callable[[bytes], Awaitable[Answer]]) -> None:
        self._forward = forward
        self._answers: dict[str, tuple[str, Answer]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.refusals: list[Refusal] = []
        self.reservations: list[Reservation] = []
        self.templates: dict[str, Mapping[str, str]] = {}
        self.launched: dict[str, Launched] = {}

    def learn_template(self, asked: Asked) -> None:
        self.templates[asked.form["LaunchTemplateName"]] = asked.form

    async def create(self, asked: Asked) -> Answer:
        """Once for each client token, however often and at the same time it is asked."""
        token = asked.form.get("ClientToken", "")
        async with self._locks.setdefault(token, asyncio.Lock()):
            if token in self._answers:
                parameters, answer = self._answers[token]
                if parameters == _parameters(asked):
                    return answer
                told = "the client token was used with other parameters"
                return wire.refusal("ec2", "IdempotentParameterMismatch", told, 400)
            answer = await self._create(asked)
            if answer.status == 200:
                self._answers[token] = (_parameters(asked), answer)
            return answer

    def describe_reservations(self, asked: Asked) -> Answer:
        wanted = {
            each["Name"]: [value for key, value in each.items() if key.startswith("Value.")]
            for each in wire.numbered(asked.form, "Filter")
        }
        items = "".join(
            f"<item>{_reservation(each)}</item>"
            for each in self.reservations
            if _selected(each, wanted)
        )
        return wire.xml(
            f'<DescribeCapacityReservationsResponse xmlns="{wire.EC2_NAMESPACE}">'
            f"<requestId>r</requestId><capacityReservationSet>{items}</capacityReservationSet>"
            "</DescribeCapacityReservationsResponse>"
        )

    async def _create(self, asked: Asked) -> Answer:
        market = asked.form["TargetCapacitySpecification.DefaultTargetCapacityType"]
        refused: list[tuple[Mapping[str, str], str, str]] = []
        for template, override in _overrides(asked.form):
            why = self._refusal(template, override, _capacity_type(asked.form, market))
            if why is not None and why.code in WHOLE:
                status = STATUSES.get(why.code, 400)
                return wire.refusal("ec2", why.code, why.message, status)
            if why is None:
                answer = await self._forward(_only(asked.form, template, override, market))
                return await self._granted(answer, template, override, refused)
            refused.append((override, why.code, why.message))
        return wire.xml(
            f'<CreateFleetResponse xmlns="{wire.EC2_NAMESPACE}"><requestId>r</requestId>'
            f"<fleetId>fleet-0</fleetId>{_errors(refused)}<fleetInstanceSet/></CreateFleetResponse>"
        )

    def _refusal(
        self, template: str, override: Mapping[str, str], capacity_type: str
    ) -> Refusal | None:
        for each in self.refusals:
            if each.matches(override, capacity_type):
                each.used()
                return each
        target = "CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId"
        wanted = self.templates.get(template, {}).get(f"LaunchTemplateData.{target}")
        reservation = next((each for each in self.reservations if each.id == wanted), None)
        if reservation is None:
            return None
        if reservation.free <= 0:
            return Refusal("ReservationCapacityExceeded", "the reservation is used up")
        reservation.free -= 1
        return None

    async def _granted(
        self,
        answer: Answer,
        template: str,
        override: Mapping[str, str],
        refused: list[tuple[Mapping[str, str], str, str]],
    ) -> Answer:
        found = _INSTANCE.search(answer.body)
        if found is None:
            return answer
        id = found["id"].decode()
        form = self.templates.get(template, {})
        groups = wire.numbered(form, "LaunchTemplateData.SecurityGroupId")
        await self._forward(
            urlencode(
                {
                    "Action": "ModifyInstanceAttribute",
                    "Version": "2016-11-15",
                    "InstanceId": id,
                    **{f"GroupId.{n}": group[""] for n, group in enumerate(groups, 1)},
                }
            ).encode()
        )
        self.launched[id] = Launched(
            id, override["InstanceType"], override["AvailabilityZone"], form
        )
        told = _errors(refused).encode()
        body = answer.body.replace(b"<fleetInstanceSet>", told + b"<fleetInstanceSet>", 1)
        return Answer(answer.status, body, answer.headers)


def _parameters(asked: Asked) -> str:
    return repr(sorted(asked.form.items()))


def _capacity_type(form: Mapping[str, str], market: str) -> str:
    """As the tag says it: `reserved` is on-demand to EC2."""
    for spec in wire.numbered(form, "TagSpecification"):
        for tag in wire.numbered(spec, "Tag"):
            if tag["Key"] == "karpenter.sh/capacity-type":
                return tag["Value"]
    return market


def _overrides(form: Mapping[str, str]) -> Iterable[tuple[str, dict[str, str]]]:
    for config in wire.numbered(form, "LaunchTemplateConfigs"):
        template = config["LaunchTemplateSpecification.LaunchTemplateName"]
        for override in wire.numbered(config, "Overrides"):
            yield template, override


def _only(
    form: Mapping[str, str], template: str, override: Mapping[str, str], market: str
) -> bytes:
    """The request with one override: the one that is granted."""
    kept = {
        key: value for key, value in form.items() if not key.startswith("LaunchTemplateConfigs.")
    }
    if market == "capacity-block":
        kept["TargetCapacitySpecification.DefaultTargetCapacityType"] = "on-demand"
    config = "LaunchTemplateConfigs.1"
    kept[f"{config}.LaunchTemplateSpecification.LaunchTemplateName"] = template
    kept[f"{config}.LaunchTemplateSpecification.Version"] = "$Latest"
    kept |= {f"{config}.Overrides.1.{key}": value for key, value in override.items()}
    return urlencode(kept).encode()


def _errors(refused: Iterable[tuple[Mapping[str, str], str, str]]) -> str:
    items = "".join(
        "<item><launchTemplateAndOverrides><overrides>"
        + wire.element("instanceType", override["InstanceType"])
        + wire.element("subnetId", override["SubnetId"])
        + wire.element("availabilityZone", override["AvailabilityZone"])
        + "</overrides></launchTemplateAndOverrides>"
        + wire.element("errorCode", code)
        + wire.element("errorMessage", message)
        + "</item>"
        for override, code, message in refused
    )
    return f"<errorSet>{items}</errorSet>"


def _selected(each: Reservation, wanted: Mapping[str, list[str]]) -> bool:
    facts = {
        "capacity-reservation-id": each.id,
        "state": "active",
        **{f"tag:{key}": value for key, value in each.tags.items()},
    }
    return all(
        facts.get(name) in values or (name == "tag-key" and set(values) <= set(each.tags))
        for name, values in wanted.items()
    )


def _reservation(each: Reservation) -> str:
    return (
        wire.element("capacityReservationId", each.id)
        + wire.element("instanceType", each.instance_type)
        + wire.element("availabilityZone", each.zone)
        + wire.element("availableInstanceCount", each.free)
        + wire.element("reservationType", each.kind)
        + wire.element("state", "active")
    )
