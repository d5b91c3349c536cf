"""A claim that gets nowhere is given up in time: a machine that never joins keeps costing."""

from __future__ import annotations

from apis.karpenter.v1.conditions import LAUNCHED, REGISTERED
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner import events
from gpu_provisioner.nodeclaim.step import GiveUp, Progress, since
from gpu_provisioner.settings import Timings
from kube.clock import Clock


class Liveness:
    """Two clocks, each from the last change of its condition: to launch, and to register."""

    def __init__(self, timings: Timings, clock: Clock) -> None:
        self._limits = (
            (LAUNCHED, timings.launch_timeout, "launch_timeout", events.LAUNCH_TIMEOUT),
            (
                REGISTERED,
                timings.registration_timeout,
                "registration_timeout",
                events.REGISTRATION_TIMEOUT,
            ),
        )
        self._clock = clock

    async def __call__(self, claim: NodeClaim, /) -> Progress:
        waits = []
        for kind, limit, reason, event in self._limits:
            if claim.is_true(kind):
                continue
            left = limit - since(claim, kind, self._clock.now())
            if left <= 0:
                said = claim.condition(kind)
                message = f"not {kind} after {limit:g} s: {said.reason}: {said.message}"
                return Progress(claim, give_up=GiveUp(reason, event, message))
            waits.append(left)
        return Progress(claim, look_again=min(waits, default=None))
