"""What is to be done so that a static pool has its replicas. Pure.

A claim that is being replaced (condition DisruptionReason) no longer counts, so that its successor
is made like any other claim; it goes once the successor can take work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from gpu_provisioner.nodepool import template
from gpu_provisioner.nodepool.said import YES, Said
from gpu_provisioner.nodepool.setbacks import Setback
from kube import quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A pool with replicas, its own claims (also those that are ending), and what may be done."""

    pool: NodePool
    claims: Sequence[NodeClaim]
    rank: Callable[[NodeClaim], Any]
    """Lowest goes first."""
    budget: int = 0
    """How many more nodes may be disrupted for drift now."""
    spared: Callable[[NodeClaim], str] = lambda _: ""
    """Why the claim must not be disrupted; "" where nothing speaks against it."""
    setback: Setback | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to create, by name, and which claims to delete, mark as being replaced, or unmark."""

    said: Said | None
    """None while there is nothing to say yet."""
    create: tuple[str, ...] = ()
    surplus: tuple[NodeClaim, ...] = ()
    replaced: tuple[NodeClaim, ...] = ()
    """Their successors are ready."""
    mark: tuple[NodeClaim, ...] = ()
    unmark: tuple[NodeClaim, ...] = ()
    blocked: str = ""
    """Why none of those that have drifted may be replaced now."""

    @property
    def acts(self) -> bool:
        return any((self.create, self.surplus, self.replaced, self.mark, self.unmark))


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The claims that are not ending: those that count, and those being replaced."""

    counted: list[NodeClaim]
    leaving: list[NodeClaim]
    undone: list[NodeClaim]
    """Being replaced for a drift that is no more: they count again."""


def plan(seen: Seen) -> Plan:
    """One step. Several kinds of change never meet in one, but for the marks."""
    wanted = seen.pool.spec.replicas or 0
    found = _sort(seen.claims)
    counted = [*found.counted, *found.undone]
    unmark = tuple(found.undone)
    if len(counted) > wanted:
        surplus = sorted(counted, key=seen.rank)[: len(counted) - wanted]
        return Plan(said=YES, surplus=tuple(surplus), unmark=_less(unmark, surplus))
    if not seen.pool.ready:
        return Plan(said=_unready(seen.pool, len(counted), wanted), unmark=unmark)
    if len(counted) < wanted:
        return replace(_grow(seen, counted, wanted), unmark=unmark)
    return replace(_renew(seen, counted, found.leaving, wanted), unmark=unmark)


def _sort(claims: Sequence[NodeClaim]) -> _Sorted:
    found = _Sorted([], [], [])
    for claim in claims:
        if claim.deleting:
            continue
        if not claim.is_true(c.DISRUPTION_REASON):
            found.counted.append(claim)
        elif claim.is_true(c.DRIFTED):
            found.leaving.append(claim)
        else:
            found.undone.append(claim)
    return found


def _unready(pool: NodePool, has: int, wanted: int) -> Said | None:
    """A pool that nobody has judged yet will be in a moment."""
    ready = pool.condition(c.READY)
    if has == wanted or ready.status != "False":
        return YES if has == wanted else None
    return Said("False", c.POOL_NOT_READY, f"{has} of {wanted} nodes: {ready.message}")


def _grow(seen: Seen, counted: Sequence[NodeClaim], wanted: int) -> Plan:
    missing = wanted - len(counted)
    has = f"{len(counted)} of {wanted} nodes"
    if (last := seen.setback) is not None:
        again = last.until.strftime("%Y-%m-%dT%H:%M:%SZ")
        why = f"{last.reason}: {last.message}" if last.message else last.reason
        return Plan(
            said=Said(
                "False",
                c.BACKING_OFF,
                f"{has}: claims were given up ({last.tries} times in a row);"
                f" next try at {again}; the last one for {why}",
            )
        )
    room = _room(seen)
    limited = room is not None and room < missing
    said = YES
    if limited:
        limit = seen.pool.spec.limits["nodes"]
        said = Said("False", c.LIMIT_REACHED, f"{has}: limits.nodes is {limit}")
    number = min(missing, room) if room is not None else missing
    taken = {claim.metadata.name for claim in seen.claims}
    return Plan(said=said, create=tuple(template.free_names(seen.pool, taken, number)))


def _room(seen: Seen) -> int | None:
    """How many more nodes the limit allows; None for any number. A node that is ending counts
    until it is gone: it costs until then."""
    if (limit := seen.pool.spec.limits.get("nodes")) is None:
        return None
    return max(0, int(quantity.parse(limit)) - len(seen.claims))


def _renew(
    seen: Seen, counted: Sequence[NodeClaim], leaving: Sequence[NodeClaim], wanted: int
) -> Plan:
    """Let go whose successor is ready; begin with as many more as the budget has left."""
    working = sum(claim.is_true(c.INITIALIZED) for claim in counted)
    succeeded = max(0, working - (wanted - len(leaving)))
    replaced = sorted(leaving, key=seen.rank)[:succeeded]
    if replaced:
        return Plan(said=YES, replaced=tuple(replaced))
    drifted = [
        claim for claim in counted if claim.is_true(c.DRIFTED) and claim.is_true(c.INITIALIZED)
    ]
    free = [claim for claim in drifted if not seen.spared(claim)]
    room = _room(seen)
    may = seen.budget if room is None else min(seen.budget, room)
    mark = sorted(free, key=seen.rank)[: max(0, may)]
    stuck = drifted and not mark and not leaving
    return Plan(said=YES, mark=tuple(mark), blocked=_blocked(seen, drifted, room) if stuck else "")


def _blocked(seen: Seen, drifted: Sequence[NodeClaim], room: int | None) -> str:
    spared = [f"{each.metadata.name} ({why})" for each in drifted if (why := seen.spared(each))]
    if len(spared) == len(drifted):
        return f"drifted, and not to be disrupted: {', '.join(spared)}"
    if seen.budget > 0 and room == 0:
        return f"{len(drifted)} drifted; limits.nodes leaves no room for a successor"
    return f"{len(drifted)} drifted; spec.disruption.budgets allow none to be replaced now"


def _less(claims: tuple[NodeClaim, ...], others: Sequence[NodeClaim]) -> tuple[NodeClaim, ...]:
    gone = {claim.metadata.uid for claim in others}
    return tuple(claim for claim in claims if claim.metadata.uid not in gone)
