"""ConsistentStateFound: the node is as large as its instance type promised."""

from __future__ import annotations

from decimal import Decimal

from apis.karpenter.v1 import conditions
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from gpu_provisioner import events
from gpu_provisioner.nodeclaim.registration import matching
from gpu_provisioner.shared import Shared, Stores
from kube import quantity
from kube.controller import Result
from kube.objects import Node

ENOUGH = Decimal("0.9")
"""Of what was promised; the estimate of memory is never exact."""


class Consistency:
    """Tells, and does nothing about it: what is missing may be a mistake in the catalogue."""

    def __init__(self, shared: Shared, stores: Stores) -> None:
        self._claims = shared.claims
        self._nodes = stores.nodes
        self._recorder = shared.recorder
        self._every = shared.timings.consistency
        self._clock = shared.clock

    async def reconcile(self, claim: NodeClaim, /) -> Result:
        claim = self._claims.latest(claim)
        found = matching(claim, self._nodes)
        if claim.deleting or not claim.is_true(conditions.INITIALIZED) or len(found) != 1:
            return Result()
        now = self._clock.now()
        kind = conditions.CONSISTENT_STATE_FOUND
        if message := "; ".join(missing(found[0], claim)):
            self._recorder.event(
                NODE_CLAIMS,
                claim.metadata,
                events.WARNING,
                events.FAILED_CONSISTENCY_CHECK,
                message,
            )
            reason = conditions.CONSISTENCY_CHECK_FAILED
            told = claim.with_condition(kind, "False", reason, message, now=now)
        else:
            told = claim.with_condition(kind, "True", now=now)
        await self._claims.tell(claim, told)
        return Result(self._every)


def missing(node: Node, claim: NodeClaim) -> list[str]:
    """Of the resources that the claim asked for, those that the node has too little of. Pure."""
    lacking = []
    for name in sorted(claim.spec.resources.requests):
        promised = claim.status.capacity.get(name, "0")
        found = node.status.capacity.get(name, "0")
        expected, has = quantity.parse(promised), quantity.parse(found)
        if has < expected * ENOUGH:
            share = f"{has / expected:.1%} of expected"
            lacking.append(f"expected {promised} of resource {name}, but found {found} ({share})")
    return lacking
