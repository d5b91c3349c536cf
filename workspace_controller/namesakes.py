"""A Workspace and a RAGEngine of one name in one namespace: both want the Service of that name.

Who was there first has it, or who has it already; the other one says so and waits. Without this
each would take the Service from the other, for ever. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime

from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from kube.objects import Unstructured

REASON_NAME_TAKEN = "ServiceNameTaken"

_UNBORN = datetime.max.replace(tzinfo=UTC)


def holder(
    asking: Workspace | RAGEngine,
    other: Workspace | RAGEngine | None,
    *,
    service: Unstructured | None,
    others: Unstructured | None,
) -> str:
    """The other in words, where the Service is its; empty where the name is free to take.

    `service` and `others` are the Services of that name with the label of the one kind and of the
    other. What a dead namesake has left is nobody's.
    """
    if other is None or (isinstance(other, Workspace) and other.tuning is not None):
        return ""  # a tuning has no Service
    if _has(asking, service):
        return ""
    if not _has(other, others) and _seniority(other) > _seniority(asking):
        return ""
    return f"{other.kind} {other.metadata.namespace}/{other.metadata.name}"


def message(asking: Workspace | RAGEngine, held_by: str) -> str:
    """What to do about it."""
    return (
        f'{held_by} has the Service "{asking.metadata.name}"; delete one of the two, or create '
        f"this {asking.kind} anew under another name"
    )


def _has(owner: Workspace | RAGEngine, service: Unstructured | None) -> bool:
    references = () if service is None else service.metadata.owner_references
    return any(each.uid == owner.metadata.uid for each in references)


def _seniority(found: Workspace | RAGEngine) -> tuple[datetime, bool]:
    """Of two that were born in the same second the Workspace is the elder."""
    born = found.metadata.creation_timestamp or _UNBORN
    return born, found.kind == "RAGEngine"
