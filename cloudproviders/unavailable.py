"""What a cloud refused lately: a memory that spares the next claim the same refusal.

Karpenter's unavailable-offerings cache. It lives in the process: after a restart the cloud is
asked once more, which costs a call and no machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cloudproviders.instancetype import InstanceType, Offering
from kube.clock import Clock

TTL_SECONDS = 3 * 60.0
"""Karpenter's for a stock-out; clouds give longer ones where they know better (quota 1 h …)."""

WORDLESS = "refused"
"""The reason that is given for a refusal without words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which offerings a refusal speaks of; "" is any."""

    instance_type: str = ""
    zone: str = ""
    capacity_type: str = ""

    def covers(self, instance_type: str, offering: Offering) -> bool:
        return (
            self.instance_type in {"", instance_type}
            and self.zone in {"", offering.zone}
            and self.capacity_type in {"", offering.capacity_type}
        )


class UnavailableOfferings:
    """Refusals with the reason for each, until they are too old to be believed."""

    def __init__(self, clock: Clock, ttl: float = TTL_SECONDS) -> None:
        self._clock = clock
        self._ttl = ttl
        self._refused: dict[Scope, tuple[float, str]] = {}

    def mark(self, scope: Scope, reason: str, *, ttl: float | None = None) -> None:
        """Remember the refusal for `ttl` seconds; a later one of the same scope replaces it."""
        until = self._clock.monotonic() + (self._ttl if ttl is None else ttl)
        self._refused[scope] = (until, reason or WORDLESS)

    def why(self, instance_type: str, offering: Offering) -> str:
        """Why the offering is not worth asking for, "" where nothing speaks against it."""
        now = self._clock.monotonic()
        for scope in [scope for scope, (until, _) in self._refused.items() if until <= now]:
            del self._refused[scope]
        return next(
            (
                reason
                for scope, (_, reason) in self._refused.items()
                if scope.covers(instance_type, offering)
            ),
            "",
        )

    def applied(self, types: Iterable[InstanceType]) -> list[InstanceType]:
        """The types with `available` False on every offering that was refused."""
        return [
            replace(
                each,
                offerings=tuple(
                    replace(offering, available=False)
                    if self.why(each.name, offering)
                    else offering
                    for offering in each.offerings
                ),
            )
            for each in types
        ]
