"""The ordered ladder of a claim: reserved, spot, on-demand; cheapest first; rung after rung.

A claim whose requirements allow several instance types, zones or capacity types is served by the
first that can be had. A refusal is remembered for all claims (`unavailable`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import selection
from cloudproviders.errors import InsufficientCapacityError, OfferingRefusedError
from cloudproviders.instancetype import InstanceType
from cloudproviders.selection import Choice
from cloudproviders.unavailable import UnavailableOfferings

T = TypeVar("T")

ALL_UNAVAILABLE = "all requested instance types were unavailable during launch"
"""Karpenter's words, by which KAITO knows that waiting is of no use."""

NOT_SOLD = "not sold here"
"""Of offerings that the cloud's own list of what it has does not have."""


async def climb(
    claim: NodeClaim,
    types: Iterable[InstanceType],
    unavailable: UnavailableOfferings,
    attempt: Callable[[Choice], Awaitable[T]],
) -> T:
    """What `attempt` gives for the first rung that is granted.

    `attempt` raises OfferingRefusedError for "not this one, another perhaps"; everything else that
    it raises ends the climb. InsufficientCapacityError, with the reason of every rung in the
    cloud's own words, where none is left.

    Bounded: a rung is attempted once in a climb, even where its refusal is not to be remembered.
    """
    known = list(types)
    for choice in selection.choices(claim, known):
        if unavailable.why(choice.instance_type.name, choice.offering):
            continue  # refused just now by an attempt on another rung, or for another claim
        try:
            return await attempt(choice)
        except OfferingRefusedError as refused:
            unavailable.mark(refused.scope, refused.message, ttl=refused.ttl)
    raise InsufficientCapacityError(reasons(claim, known, unavailable))


def reasons(
    claim: NodeClaim, types: Iterable[InstanceType], unavailable: UnavailableOfferings
) -> str:
    """Why nothing is left: each refusal once, with the rungs that it stands for.

    The refusal precedes its rungs, of which there may be many: conditions cut what is long.
    """
    refused: dict[str, list[Choice]] = {}
    for choice in selection.compatible(claim, types):
        why = unavailable.why(choice.instance_type.name, choice.offering) or NOT_SOLD
        refused.setdefault(why, []).append(choice)
    if not refused:
        return f"{ALL_UNAVAILABLE}: none fits the claim's requirements and requests"
    told = "; ".join(f"{why} [{_named(rungs)}]" for why, rungs in refused.items())
    return f"{ALL_UNAVAILABLE}: {told}"


def _named(rungs: Iterable[Choice]) -> str:
    """`a10-1 on-demand in zone-1, zone-2; a10-2 spot`."""
    zones: dict[str, list[str]] = {}
    for instance_type, offering in rungs:
        zones.setdefault(f"{instance_type.name} {offering.capacity_type}", []).append(offering.zone)
    return "; ".join(
        f"{what} in {', '.join(where)}" if any(where) else what for what, where in zones.items()
    )
