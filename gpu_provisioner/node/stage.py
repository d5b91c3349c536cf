"""What a stage of a node's end is, and the words that stages share."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.objects import Node


class Outcome(NamedTuple):
    """`wait` in seconds until the stage wants to look again; None when it is done."""

    claim: NodeClaim | None
    wait: float | None = None


class Stage(Protocol):
    """A part of the end of a node. `claim` is None where the node has lost its claim."""

    async def __call__(self, node: Node, claim: NodeClaim | None, /) -> Outcome: ...


def deadline(claim: NodeClaim | None) -> datetime | None:
    """When the node must be empty: stamped on its claim; None where it may take its time."""
    if claim is None:
        return None
    stamp = claim.metadata.annotations.get(labels.TERMINATION_TIMESTAMP_ANNOTATION, "")
    try:
        return datetime.fromisoformat(stamp) if stamp else None
    except ValueError:
        return None  # not ours: Karpenter writes RFC 3339
