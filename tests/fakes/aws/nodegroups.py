"""Node groups that take their time, and those that come to nothing: moto's are ACTIVE at once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from kube.clock import Clock
from tests.fakes.aws.wire import Answer, Asked


@dataclass
class Plan:
    """Of one group, by the emulator's clock."""

    wire: dict[str, Any]
    ordered: float
    issues: list[dict[str, Any]] = field(default_factory=list)
    zone: str = ""
    """Where its machine is."""
    deleted: float | None = None


class NodeGroups:
    """States by time; `seconds` from order to ACTIVE, and from delete to gone."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self.seconds = seconds
        self.plans: dict[str, Plan] = {}
        self.refusals: list[tuple[str, str, dict[str, str]]] = []
        """EC2's code and words, and what they match: of groups that EKS takes the order for."""

    def refuse(self, code: str, words: str, **matching: str) -> None:
        self.refusals.append((code, words, matching))

    def standing(self) -> dict[str, Plan]:
        """Groups that exist or are being made or unmade now."""
        now = self._clock.monotonic()
        return {
            name: plan
            for name, plan in self.plans.items()
            if plan.deleted is None or now - plan.deleted < self.seconds
        }

    async def create(self, forward: Callable[[], Awaitable[Answer]]) -> Answer:
        answer = await forward()
        if answer.status == 200:
            group = json.loads(answer.body)["nodegroup"]
            plan = Plan(group, self._clock.monotonic(), self._issues(group), self._zone(group))
            self.plans[group["nodegroupName"]] = plan
            return self._told(answer, group["nodegroupName"])
        return answer

    async def describe(self, name: str, forward: Callable[[], Awaitable[Answer]]) -> Answer:
        return self._told(await forward(), name)

    async def delete(self, name: str) -> None:
        """moto's own is deleted when its time has come: `due`."""
        plan = self.plans[name]
        if plan.deleted is None:
            plan.deleted = self._clock.monotonic()

    def due(self) -> list[str]:
        """Groups whose end is over; they are not known here any more."""
        now = self._clock.monotonic()
        over = [
            name
            for name, plan in self.plans.items()
            if plan.deleted is not None and now - plan.deleted >= self.seconds
        ]
        for name in over:
            del self.plans[name]
        return over

    def status(self, name: str) -> str:
        plan = self.plans[name]
        if plan.deleted is not None:
            return "DELETING"
        if self._clock.monotonic() - plan.ordered < self.seconds:
            return "CREATING"
        return "CREATE_FAILED" if plan.issues else "ACTIVE"

    def _issues(self, group: dict[str, Any]) -> list[dict[str, Any]]:
        """Those of a group that can be had in none of its zones."""
        told = {zone: self._refusal(group, zone) for zone in zones_of(group)}
        if not all(told.values()):
            return []
        words = next(iter(told.values()))
        text = f"Could not launch On-Demand Instances. {words}. Launching EC2 instance failed."
        return [{"code": "AsgInstanceLaunchFailures", "message": text}]

    def _refusal(self, group: dict[str, Any], zone: str) -> str:
        facts = {
            "instance_type": group["instanceTypes"][0],
            "zone": zone,
            "capacity_type": group["tags"].get("karpenter.sh/capacity-type", ""),
        }
        for code, words, matching in self.refusals:
            if all(value in {"", facts[name]} for name, value in matching.items()):
                return f"{code} - {words}"
        return ""

    def _zone(self, group: dict[str, Any]) -> str:
        return next((zone for zone in zones_of(group) if not self._refusal(group, zone)), "")

    def _told(self, answer: Answer, name: str) -> Answer:
        if answer.status != 200 or name not in self.plans:
            return answer
        document = json.loads(answer.body)
        status = self.status(name)
        document["nodegroup"]["status"] = status
        failed = self.plans[name].issues if status == "CREATE_FAILED" else []
        document["nodegroup"]["health"] = {"issues": failed}
        return Answer(answer.status, json.dumps(document).encode(), answer.headers)


def name_of(asked: Asked, path: str) -> str:
    return path.partition("?")[0].rpartition("/")[2]


def zones_of(group: dict[str, Any]) -> list[str]:
    return str(group["tags"].get("kaito.sh/zones", "")).split(":")
