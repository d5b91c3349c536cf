"""What a step of a claim's life is, and the words that steps share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from apis.karpenter.v1.nodeclaim import NodeClaim


class Reason(NamedTuple):
    """Of a condition."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Why the claim is to be deleted: `reason` for the metric, the rest for the event."""

    reason: str
    event: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of the claim in a step.

    `look_again` is in seconds; `failure` is saved on the claim first, then retried with backoff.
    """

    claim: NodeClaim
    look_again: float | None = None
    failure: Exception | None = None
    give_up: GiveUp | None = None


class Step(Protocol):
    """Everything of a claim's life that has to do with one condition."""

    async def __call__(self, claim: NodeClaim, /) -> Progress: ...


def affirmed(claim: NodeClaim, kind: str, now: datetime) -> NodeClaim:
    """The condition as it stands, said again at the claim's current generation."""
    said = claim.condition(kind)
    return claim.with_condition(kind, said.status, said.reason, said.message, now=now)


def since(claim: NodeClaim, kind: str, now: datetime) -> float:
    """Seconds that the condition has stood; from the claim's creation where it was never set."""
    changed = claim.condition(kind).last_transition_time or claim.metadata.creation_timestamp
    return (now - changed).total_seconds() if changed else 0.0
