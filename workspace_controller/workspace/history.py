"""Step: what was served is kept as ControllerRevisions, to be compared and gone back to. Pure.

Under upstream's names, so that its tools find them. A revision is kept once it reaches the
workload: what never ran is nothing to go back to.
"""

from __future__ import annotations

from collections.abc import Sequence

from apis.kaito.v1beta1.labels import REVISION_NAME_LABEL, WORKSPACE_HASH_ANNOTATION
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from kube.objects import CONTROLLER_REVISIONS, ControllerRevision
from workspace_controller.manifests import ownership
from workspace_controller.plan import Change, Deletion, Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import revision
from workspace_controller.workspace.observed import Observed

LIMIT = 10
_NAMED_BY = 10
"""Digits of the hash in a name; more where another revision has that name already."""


def history(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Keeps the revision that is deployed now, under its present number, and the last ten."""
    value = revision.spec_hash(workspace)
    number = revision.number(workspace, seen.revisions)
    found = next((each for each in seen.revisions if _hash(each) == value), None)
    older = sorted((each for each in seen.revisions if each is not found), key=_age)
    surplus = older[: max(0, len(older) + 1 - LIMIT)]
    plan = Plan(delete=tuple(Deletion.of(CONTROLLER_REVISIONS, each) for each in surplus))
    if found is None:
        return plan + Plan(create=(_manifest(workspace, value, number, seen.revisions),))
    if found.revision >= number:
        return plan
    meta = found.metadata
    patch = {"revision": number}
    again = Change(CONTROLLER_REVISIONS, meta.namespace, meta.name, patch)
    return plan + Plan(change=(again,))


def _manifest(
    workspace: Workspace, value: str, number: int, others: Sequence[ControllerRevision]
) -> Manifest:
    taken = {each.metadata.name for each in others}
    digits = range(_NAMED_BY, len(value) + 1)
    names = (f"{workspace.metadata.name}-{value[:count]}" for count in digits)
    name = next(each for each in names if each not in taken)
    metadata = ownership.child_metadata(workspace, name, {WORKSPACE_HASH_ANNOTATION: value})
    metadata["labels"] = {REVISION_NAME_LABEL: workspace.metadata.name}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "revision": number,
        "data": revision.meant(workspace),
    }


def _hash(kept: ControllerRevision) -> str:
    return kept.metadata.annotations.get(WORKSPACE_HASH_ANNOTATION, "")


def _age(kept: ControllerRevision) -> tuple[int, str]:
    return kept.revision, kept.metadata.name
