"""CreateFleet: what to ask for, and what the answer says. Pure.

One instant fleet holds all rungs of one capacity type, so EC2 itself climbs that part of the
ladder: types × zones in one request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from apis.karpenter.v1 import labels
from cloudproviders.aws import tags as tags_
from cloudproviders.aws.instances import Machine
from cloudproviders.aws.network import Subnet
from cloudproviders.aws.reservations import Reservation
from cloudproviders.aws.sdk import Wire
from cloudproviders.selection import Choice

MOST_TYPES = 60
"""Karpenter's: more make the request slow and the launch no likelier."""

MOST_OVERRIDES = 300
"""EC2's limit of a fleet."""

_MARKETS = {labels.CAPACITY_SPOT: "spot", labels.CAPACITY_ON_DEMAND: "on-demand"}


class Rung(NamedTuple):
    """One way to serve a claim: a choice, and where and from what it would be launched."""

    choice: Choice
    subnet: Subnet
    template: str
    reservation: Reservation | None = None

    @property
    def key(self) -> tuple[str, str]:
        """By which answers name it."""
        return (self.choice.instance_type.name, self.subnet.id)


@dataclass(frozen=True, slots=True)
class Refusal:
    """`rung` is None where EC2 does not say which it means."""

    code: str
    message: str
    rung: Rung | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A machine, or the reasons why none; with a machine, why not the better ones."""

    machine: Machine | None
    refusals: Sequence[Refusal]


def token(uid: str, attempt: int, capacity_type: str, market: str) -> str:
    """EC2's client token, at most 64 characters: repeating the request makes nothing new. The
    attempt counts the answers that were had: an answer is repeated with its token, too."""
    return hashlib.sha256(f"{uid}/{attempt}/{capacity_type}/{market}".encode()).hexdigest()


def best(choices: Iterable[Choice]) -> list[Choice]:
    """The part of the ladder that comes first: one capacity type, its cheapest types."""
    ordered = list(choices)
    if not ordered:
        return []
    kind = ordered[0].offering.capacity_type
    same = [choice for choice in ordered if choice.offering.capacity_type == kind]
    names = list(dict.fromkeys(choice.instance_type.name for choice in same))[:MOST_TYPES]
    kept = set(names)
    return [choice for choice in same if choice.instance_type.name in kept][:MOST_OVERRIDES]


def market(rungs: Sequence[Rung]) -> str:
    """EC2's word for how the first rung is bought."""
    first = rungs[0]
    if first.reservation is not None and first.reservation.block:
        return "capacity-block"
    return _MARKETS.get(first.choice.offering.capacity_type, "on-demand")


def request(rungs: Sequence[Rung], *, client_token: str, tags: Mapping[str, str]) -> Wire:
    """The parameters of CreateFleet, for one machine. All rungs are of one market."""
    kind = rungs[0].choice.offering.capacity_type
    bought = market(rungs)
    marked = tags_.as_list({**tags, tags_.CAPACITY_TYPE_TAG: kind})
    configs: dict[str, list[Wire]] = {}
    for rung in rungs:
        configs.setdefault(rung.template, []).append(
            {
                "InstanceType": rung.choice.instance_type.name,
                "SubnetId": rung.subnet.id,
                "AvailabilityZone": rung.subnet.zone,
            }
        )
    found: Wire = {
        "Type": "instant",
        "ClientToken": client_token,
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": 1,
            "DefaultTargetCapacityType": bought,
        },
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateName": template,
                    "Version": "$Latest",
                },
                "Overrides": overrides,
            }
            for template, overrides in configs.items()
        ],
        "TagSpecifications": [
            {"ResourceType": kind_, "Tags": marked} for kind_ in ("instance", "volume", "fleet")
        ],
    }
    if bought == "spot":
        found["SpotOptions"] = {"AllocationStrategy": "price-capacity-optimized"}
    elif bought == "on-demand":
        found["OnDemandOptions"] = {"AllocationStrategy": "lowest-price"}
    return found


def outcome(answer: Wire, rungs: Sequence[Rung], tags: Mapping[str, str]) -> Outcome:
    """What became of the request for these rungs."""
    by_key = {rung.key: rung for rung in rungs}
    refusals = [
        Refusal(
            error.get("ErrorCode", ""),
            error.get("ErrorMessage", ""),
            by_key.get(_key(error)),
        )
        for error in answer.get("Errors") or ()
    ]
    for group in answer.get("Instances") or ():
        for id in group.get("InstanceIds") or ():
            return Outcome(_machine(id, group, rungs, by_key, tags), refusals)
    return Outcome(None, refusals)


def _machine(
    id: str,
    group: Wire,
    rungs: Sequence[Rung],
    by_key: Mapping[tuple[str, str], Rung],
    tags: Mapping[str, str],
) -> Machine:
    rung = by_key.get(_key(group))
    override = group.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    kind = rungs[0].choice.offering.capacity_type
    return Machine(
        id=id,
        type=group.get("InstanceType") or override.get("InstanceType", ""),
        zone=rung.subnet.zone if rung else override.get("AvailabilityZone", ""),
        state="pending",
        tags={**tags, tags_.CAPACITY_TYPE_TAG: kind},
        lifecycle=group.get("Lifecycle", ""),
        subnet=override.get("SubnetId", ""),
    )


def _key(wire: Wire) -> tuple[str, str]:
    override = wire.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    return (override.get("InstanceType", ""), override.get("SubnetId", ""))
