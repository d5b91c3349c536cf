"""A claim that gets nowhere is given up in time: a machine that never joins keeps costing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apis.karpenter.v1.conditions import (
    INITIALIZED,
    INSTANCE_ORDERED,
    LAUNCHED,
    REGISTERED,
    REGISTRATION_FAILED,
    RESOURCE_NOT_REGISTERED,
)
from apis.karpenter.v1.labels import INSTANCE_TYPE_LABEL, ZONE_LABEL
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner import events
from gpu_provisioner.nodeclaim.step import GiveUp, Progress, Reason, since
from gpu_provisioner.nodepool.registrationhealth import RegistrationHealth
from gpu_provisioner.settings import Timings
from kube.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """For `kind` to become True, `seconds` after `start` has last changed; 0 or less is none."""

    kind: str
    start: str
    seconds: float
    reason: str
    event: str
    concerns: Callable[[NodeClaim], bool]


class Liveness:
    """Three clocks, each from the last change of a condition: to be taken on by the cloud, to join
    the cluster (in which the cloud's own work counts), and, beyond Karpenter, to take work."""

    def __init__(self, timings: Timings, health: RegistrationHealth, clock: Clock) -> None:
        self._limits = _limits(timings)
        self._health = health
        self._clock = clock

    async def __call__(self, claim: NodeClaim, /) -> Progress:
        waits = []
        for limit in self._limits:
            if limit.seconds <= 0 or claim.is_true(limit.kind) or not limit.concerns(claim):
                continue
            left = limit.seconds - since(claim, limit.start, self._clock.now())
            if left <= 0:
                return self._give_up(claim, limit)
            waits.append(left)
        return Progress(claim, look_again=min(waits, default=None))

    def _give_up(self, claim: NodeClaim, limit: Limit) -> Progress:
        said = _lacking(claim, limit)
        message = f"not {limit.kind} after {limit.seconds:g} s: {said.reason}: {said.message}"
        if limit.kind == LAUNCHED:
            self._health.record(claim, said)
        elif limit.kind == REGISTERED:
            self._health.record(claim, Reason(REGISTRATION_FAILED, message))
        return Progress(claim, give_up=GiveUp(limit.reason, limit.event, message + _remedy(claim)))


def _limits(timings: Timings) -> Sequence[Limit]:
    return (
        Limit(
            kind=LAUNCHED,
            start=LAUNCHED,
            seconds=timings.launch_timeout,
            reason="launch_timeout",
            event=events.LAUNCH_TIMEOUT,
            concerns=lambda claim: not claim.is_true(INSTANCE_ORDERED),
        ),
        Limit(
            kind=REGISTERED,
            start=REGISTERED,
            seconds=timings.registration_timeout,
            reason="registration_timeout",
            event=events.REGISTRATION_TIMEOUT,
            concerns=lambda claim: True,
        ),
        Limit(
            kind=INITIALIZED,
            start=REGISTERED,
            seconds=timings.initialization_timeout,
            reason="initialization_timeout",
            event=events.INITIALIZATION_TIMEOUT,
            concerns=lambda claim: claim.is_true(REGISTERED),
        ),
    )


def _lacking(claim: NodeClaim, limit: Limit) -> Reason:
    """What a machine that has not been made yet lacks is told by Launched alone."""
    launched = claim.is_true(LAUNCHED)
    said = claim.condition(limit.kind if launched else LAUNCHED)
    return Reason(said.reason, said.message)


def _remedy(claim: NodeClaim) -> str:
    """What was bought, and where its own words are."""
    if not claim.is_true(LAUNCHED):
        return ""
    bought = claim.metadata.labels.get(INSTANCE_TYPE_LABEL, "")
    if zone := claim.metadata.labels.get(ZONE_LABEL, ""):
        bought += f" in {zone}"
    if not claim.is_true(REGISTERED):
        return f"; {bought}: see the machine's boot log, and whether it reaches the API server"
    if claim.condition(INITIALIZED).reason == RESOURCE_NOT_REGISTERED:
        return f"; {bought}: see the pods of driver and device plugin on {claim.status.node_name}"
    return f"; {bought}: see node {claim.status.node_name}"
