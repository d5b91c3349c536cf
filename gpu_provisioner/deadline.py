"""When a node must be empty, as it is stamped on its claim. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from apis.karpenter.v1.labels import TERMINATION_TIMESTAMP_ANNOTATION
from apis.karpenter.v1.nodeclaim import NodeClaim


def of(claim: NodeClaim | None) -> datetime | None:
    """None where the node may take its time."""
    if claim is None:
        return None
    stamp = claim.metadata.annotations.get(TERMINATION_TIMESTAMP_ANNOTATION, "")
    try:
        found = datetime.fromisoformat(stamp) if stamp else None
    except ValueError:
        return None  # not ours: Karpenter writes RFC 3339
    return found.replace(tzinfo=found.tzinfo or UTC) if found else None


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC and whole seconds, as Go writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
