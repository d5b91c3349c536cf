"""What Google refused lately, and to whom it is to be told how.

A stock-out sends a claim to its next rung and, from the last one, away. A quota does the same with
the rungs, but a claim that nothing but quotas keep from its machine stays, and says so: who may
raise it reads it there.
"""

from __future__ import annotations

from collections.abc import Iterable

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import selection
from cloudproviders.errors import CreateError, OfferingRefusedError
from cloudproviders.gcp.errors import TTL_SECONDS, Kind, Verdict, create_error
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.unavailable import UnavailableOfferings
from kube.clock import Clock


class Refused:
    """For all claims of the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offerings = UnavailableOfferings(clock, TTL_SECONDS[Kind.STOCK_OUT])
        self._quotas = UnavailableOfferings(clock, TTL_SECONDS[Kind.QUOTA])
        self._claims: dict[str, tuple[float, CreateError]] = {}

    def remember(self, verdict: Verdict, instance_type: str, offering: Offering) -> None:
        scope, ttl = verdict.scope(instance_type, offering), TTL_SECONDS[verdict.kind]
        self.offerings.mark(scope, verdict.told, ttl=ttl)
        if verdict.kind is Kind.QUOTA:
            self._quotas.mark(scope, verdict.told, ttl=ttl)

    def refusal(
        self, verdict: Verdict, instance_type: str, offering: Offering
    ) -> OfferingRefusedError:
        """To be raised to the ladder, once it is remembered."""
        self.remember(verdict, instance_type, offering)
        scope = verdict.scope(instance_type, offering)
        return OfferingRefusedError(verdict.told, scope, ttl=TTL_SECONDS[verdict.kind])

    def blame(self, claim: NodeClaim, verdict: Verdict) -> None:
        """The claim's order failed by what it asked for; for a while it need not try again."""
        until = self._clock.monotonic() + TTL_SECONDS[Kind.CONFIGURATION]
        self._claims[claim.metadata.uid] = (until, create_error(verdict))

    def blamed(self, claim: NodeClaim) -> CreateError | None:
        now = self._clock.monotonic()
        self._claims = {uid: kept for uid, kept in self._claims.items() if kept[0] > now}
        _, error = self._claims.get(claim.metadata.uid, (0.0, None))
        return CreateError(error.reason, error.message) if error else None

    def quota(self, claim: NodeClaim, types: Iterable[InstanceType]) -> CreateError | None:
        """Where all that the claim could have is kept from it by quotas."""
        told = [
            self._quotas.why(each.name, offering)
            for each, offering in selection.choices(claim, types)
        ]
        if not told or not all(told):
            return None
        return CreateError("QuotaExceeded", "; ".join(dict.fromkeys(told)))
