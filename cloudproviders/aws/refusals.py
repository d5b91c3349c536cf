"""What AWS refused lately, for all claims of the process; and what of it for want of quota."""

from __future__ import annotations

from collections.abc import Sequence

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import ladder, selection
from cloudproviders.aws.errors import Kind
from cloudproviders.errors import CloudError, CreateError, InsufficientCapacityError
from cloudproviders.instancetype import InstanceType
from cloudproviders.selection import Choice
from cloudproviders.unavailable import Scope, UnavailableOfferings
from kube.clock import Clock


class Refusals:
    """`offerings` is the memory that the ladder reads."""

    def __init__(self, clock: Clock) -> None:
        self.offerings = UnavailableOfferings(clock)
        self._quota = UnavailableOfferings(clock)

    def mark(self, choice: Choice, kind: Kind, why: str, *, ttl: float | None = None) -> None:
        """A rung was refused. A quota is the region's, and a missing role all of spot's."""
        offering = choice.offering
        scope = Scope(
            instance_type="" if kind is Kind.SPOT else choice.instance_type.name,
            zone="" if kind in {Kind.SPOT, Kind.QUOTA} else offering.zone,
            capacity_type=offering.capacity_type,
        )
        self.mark_scope(scope, kind, why, ttl=ttl)

    def mark_scope(self, scope: Scope, kind: Kind, why: str, *, ttl: float | None = None) -> None:
        self.offerings.mark(scope, why, ttl=ttl)
        if kind is Kind.QUOTA:
            self._quota.mark(scope, why, ttl=ttl)

    def verdict(self, claim: NodeClaim, types: Sequence[InstanceType]) -> CloudError:
        """Of a claim that nothing is left for: more quota the user has to ask for, and the claim
        waits; where machines are sold out another claim may do better."""
        rungs = selection.compatible(claim, types)
        quota = [self._quota.why(each.name, offering) for each, offering in rungs]
        if rungs and all(quota):
            return CreateError("QuotaExceeded", "; ".join(dict.fromkeys(quota)))
        return InsufficientCapacityError(ladder.reasons(claim, types, self.offerings))
