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
    """Why nothing is left: each rung with its refusal, the same refusal once."""
    refused: dict[str, list[str]] = {}
    for choice in selection.choices(claim, types):
        why = unavailable.why(choice.instance_type.name, choice.offering) or "not available"
        refused.setdefault(why, []).append(str(choice))
    if not refused:
        return f"{ALL_UNAVAILABLE}: none fits the claim's requirements and requests"
    told = "; ".join(f"{', '.join(rungs)}: {why}" for why, rungs in refused.items())
    return f"{ALL_UNAVAILABLE}: {told}"
