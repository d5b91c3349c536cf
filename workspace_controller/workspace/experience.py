"""How long nodes of an instance type took in this cluster: told by the claims themselves.

NodeClaims carry the times at which they registered and were initialized, so nothing need be
stored: after a restart the claims that exist tell it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from statistics import median

from apis.karpenter.v1 import conditions as kc
from apis.karpenter.v1.labels import INSTANCE_TYPE_LABEL
from apis.karpenter.v1.nodeclaim import NodeClaim
from workspace_controller.workspace import stages

_REMEMBERED = 20
"""Of each instance type: clouds have good and bad days, so only the latest speak."""


class Experience:
    """Times by instance type; told by an informer (`subscribe(experience.changed)`)."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[float]] = {}

    def changed(self, old: NodeClaim | None, new: NodeClaim | None) -> None:
        if new is None or (old is not None and old.is_true(kc.INITIALIZED)):
            return
        born = new.metadata.creation_timestamp
        registered = _since(new, kc.REGISTERED)
        initialized = _since(new, kc.INITIALIZED)
        if born is None or registered is None or initialized is None:
            return
        kind = instance_type(new)
        self._add(kind, stages.NODE, (registered - born).total_seconds())
        self._add(kind, stages.DRIVER, (initialized - registered).total_seconds())

    def of(self, asked: str) -> Mapping[str, float]:
        """Median seconds by stage for the instance type; empty where it is not known yet."""
        return {
            stage: median(times)
            for (kind, stage), times in self._seen.items()
            if kind == asked.lower()
        }

    def _add(self, kind: str, stage: str, seconds: float) -> None:
        times = self._seen.setdefault((kind, stage), deque(maxlen=_REMEMBERED))
        times.append(max(0.0, seconds))


def instance_type(claim: NodeClaim) -> str:
    """As its machine has it, else as it was asked for; in lower case."""
    found = claim.metadata.labels.get(INSTANCE_TYPE_LABEL, "")
    asked = (
        requirement.values[0]
        for requirement in claim.spec.requirements
        if requirement.key == INSTANCE_TYPE_LABEL and requirement.values
    )
    return (found or next(asked, "")).lower()


def _since(claim: NodeClaim, kind: str) -> datetime | None:
    condition = claim.condition(kind)
    return condition.last_transition_time if condition.status == "True" else None
