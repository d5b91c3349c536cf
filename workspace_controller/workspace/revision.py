"""What the user means, as a hash and a running number on the Workspace. Pure.

Nothing here decides by them: children are compared with what they should be. They are for
people and tools that ask which revision is running, under upstream's names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from apis.kaito.v1beta1.labels import (
    REVISED_ANNOTATIONS,
    WORKSPACE_HASH_ANNOTATION,
    WORKSPACE_REVISION_ANNOTATION,
)
from apis.kaito.v1beta1.workspace import Workspace
from kube import quantity
from kube.objects import ControllerRevision
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace.observed import Observed

SECTIONS = ("resource", "inference", "tuning")


def meant(workspace: Workspace) -> dict[str, Any]:
    """What a revision keeps: the sections as they were written, and the annotations beside them
    that change the pods."""
    parts = {key: getattr(workspace, key) for key in SECTIONS}
    sections = {key: part.to_json() for key, part in parts.items() if part is not None}
    return {**sections, **_annotations(workspace)}


def spec_hash(workspace: Workspace) -> str:
    """sha256 over the JSON of what is meant. Defaults are left out, written or not: a field that
    the API gains is no edit."""
    parts = {key: getattr(workspace, key) for key in SECTIONS}
    said: dict[str, Any] = {
        key: part.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for key, part in parts.items()
        if part is not None
    }
    canonical = json.dumps(
        {**said, **_annotations(workspace)}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def _annotations(workspace: Workspace) -> dict[str, Any]:
    said = workspace.metadata.annotations
    found = {key: said[key] for key in REVISED_ANNOTATIONS if key in said}
    return {"annotations": found} if found else {}


def number(workspace: Workspace, kept: Iterable[ControllerRevision] = ()) -> int:
    """The revision that the Workspace is at, once what was decided now is stored. It never goes
    back: what was meant before and is meant again gets a new number, too."""
    annotations = workspace.metadata.annotations
    known = quantity.count(annotations.get(WORKSPACE_REVISION_ANNOTATION, "")) or 0
    if known and annotations.get(WORKSPACE_HASH_ANNOTATION) == spec_hash(workspace):
        return known
    return max([known, *(each.revision for each in kept)]) + 1


def revision(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """The annotations where they are not what they should be."""
    wanted = {
        WORKSPACE_HASH_ANNOTATION: spec_hash(workspace),
        WORKSPACE_REVISION_ANNOTATION: str(number(workspace, seen.revisions)),
    }
    if wanted.items() <= workspace.metadata.annotations.items():
        return Plan()
    return Plan(annotations=wanted)
