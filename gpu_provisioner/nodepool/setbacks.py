"""Pools whose claims keep being given up are tried less and less often.

A claim that cannot be had is deleted at once, and its deletion is what makes the pool want another:
without a pause the two go round for ever. The memory is the process's; after a restart the pool is
tried once more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from apis.karpenter.v1.conditions import READY_DEPENDENTS
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from kube.clock import Clock


@dataclass(frozen=True, slots=True)
class Setback:
    """Why the last claim was given up, and until when nobody tries again."""

    tries: int
    until: datetime
    reason: str
    message: str


class Setbacks:
    """By pool. `pause`: the first and the longest, seconds; it doubles with every try."""

    def __init__(self, clock: Clock, pause: tuple[float, float]) -> None:
        self._clock = clock
        self._pause = pause
        self._by_pool: dict[str, Setback] = {}
        self._ours: set[str] = set()

    def of(self, pool: NodePool) -> Setback | None:
        """What stands in the way of a new claim now."""
        found = self._by_pool.get(pool.metadata.uid)
        return found if found is not None and found.until > self._clock.now() else None

    def ending(self, claim: NodeClaim) -> None:
        """We delete the claim ourselves: that is no setback."""
        self._ours.add(claim.metadata.uid)

    def claim_changed(self, old: NodeClaim | None, new: NodeClaim | None) -> None:
        """Subscriber to claims."""
        if new is not None and not new.deleting:
            if new.is_true("Initialized") and not (old and old.is_true("Initialized")):
                self._forget_owner(new)
            return
        if old is not None and not old.deleting:
            self._ended(new or old)

    def pool_changed(self, old: NodePool | None, new: NodePool | None) -> None:
        """Subscriber to pools: whoever has edited one wants to see at once what becomes of it."""
        if old is not None and (new is None or new.metadata.generation != old.metadata.generation):
            self._by_pool.pop(old.metadata.uid, None)

    def _ended(self, claim: NodeClaim) -> None:
        if claim.metadata.uid in self._ours:
            self._ours.discard(claim.metadata.uid)
        elif not claim.is_true("Initialized"):
            for owner in claim.metadata.owner_references:
                self._count(owner.uid, *_why(claim))

    def _count(self, pool: str, reason: str, message: str) -> None:
        """Claims of the same try that follow each other into the ditch count once."""
        now, last = self._clock.now(), self._by_pool.get(pool)
        if last is not None and last.until > now:
            self._by_pool[pool] = replace(last, reason=reason, message=message)
            return
        tries = last.tries + 1 if last else 1
        first, longest = self._pause
        pause = min(first * 2.0 ** min(tries - 1, 30), longest)
        self._by_pool[pool] = Setback(tries, now + timedelta(seconds=pause), reason, message)

    def _forget_owner(self, claim: NodeClaim) -> None:
        for owner in claim.metadata.owner_references:
            self._by_pool.pop(owner.uid, None)


def _why(claim: NodeClaim) -> tuple[str, str]:
    said = next(claim.condition(kind) for kind in READY_DEPENDENTS if not claim.is_true(kind))
    return said.reason, said.message
