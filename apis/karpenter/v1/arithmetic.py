"""How conditions add up to Ready: operatorpkg's arithmetic, the same for every kind. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from apis.karpenter.v1 import conditions as c
from apis.model import condition_or_unknown
from kube.meta import Condition, ObjectMeta, Status, find_condition, with_condition

Conditions = tuple[Condition, ...]


def settled(
    metadata: ObjectMeta,
    conditions: Conditions,
    new: Iterable[Condition],
    dependents: Sequence[str],
    now: datetime,
) -> Conditions:
    """The object's conditions with `new` among them and Ready computed anew from `dependents`.

    What is new is dated with the object's generation; left without a reason it has its type's name
    where it is True. Ready and what feeds it exist from the first touch on.
    """
    now = now.replace(microsecond=0)
    kept = _first_touch(metadata, conditions, dependents, now)
    for each in new:
        kept = with_condition(kept, _dated(each, metadata), now)
    if metadata.deletion_timestamp is not None:
        kept = tuple(
            msgspec.structs.replace(each, observed_generation=metadata.generation) for each in kept
        )
    if dependents:
        kept = with_condition(kept, ready(metadata, kept, dependents), now)
    return ordered(kept)


def _dated(new: Condition, metadata: ObjectMeta) -> Condition:
    reason = new.type if new.status == "True" else c.AWAITING_RECONCILIATION
    return msgspec.structs.replace(
        new, reason=new.reason or reason, observed_generation=metadata.generation
    )


def ordered(kept: Conditions) -> Conditions:
    """Oldest change first, Ready last."""
    epoch = datetime.min.replace(tzinfo=None)
    return tuple(
        sorted(
            kept,
            key=lambda each: (
                each.type == c.READY,
                (each.last_transition_time or epoch).replace(tzinfo=None),
            ),
        )
    )


def ready(metadata: ObjectMeta, kept: Conditions, dependents: Sequence[str]) -> Condition:
    """True when all dependents are, at this generation; an older word counts as Unknown."""
    said: dict[str, Status] = {}
    for kind in dependents:
        condition = condition_or_unknown(kept, kind)
        current = condition.observed_generation == metadata.generation
        said[kind] = condition.status if current else "Unknown"
    lacking = ", ".join(f"{kind}={is_}" for kind, is_ in said.items() if is_ != "True")
    status: Status = "True"
    reason = c.READY
    if "False" in said.values():
        status, reason = "False", c.UNHEALTHY_DEPENDENTS
    elif lacking:
        status, reason = "Unknown", c.RECONCILING_DEPENDENTS
    return Condition(
        type=c.READY,
        status=status,
        reason=reason,
        message=lacking,
        observed_generation=metadata.generation,
    )


def _first_touch(
    metadata: ObjectMeta, conditions: Conditions, dependents: Sequence[str], now: datetime
) -> Conditions:
    """Ready and what feeds it exist from the start, dated as the object itself."""
    missing = (kind for kind in (*dependents, c.READY) if find_condition(conditions, kind) is None)
    return (
        *conditions,
        *(
            msgspec.structs.replace(
                condition_or_unknown((), kind),
                last_transition_time=metadata.creation_timestamp or now,
                observed_generation=metadata.generation,
            )
            for kind in missing
        ),
    )
