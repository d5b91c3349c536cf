"""What the user means, as a hash and a running number on the Workspace. Pure.

Nothing here decides by them: children are compared with what they should be. They are for
people and tools that ask which revision is running, under upstream's names.
"""

from __future__ import annotations

import hashlib

from apis.kaito.v1beta1.labels import WORKSPACE_HASH_ANNOTATION, WORKSPACE_REVISION_ANNOTATION
from apis.kaito.v1beta1.workspace import Workspace
from apis.model import ApiModel
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace.observed import Observed


def spec_hash(workspace: Workspace) -> str:
    """sha256 over the JSON of resource, inference and tuning, each on its line."""
    parts: tuple[ApiModel | None, ...] = (
        workspace.resource,
        workspace.inference,
        workspace.tuning,
    )
    lines = ("null" if part is None else part.model_dump_json(by_alias=True) for part in parts)
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def number(workspace: Workspace) -> int:
    """The revision that the Workspace is at, once what was decided now is stored."""
    annotations = workspace.metadata.annotations
    text = annotations.get(WORKSPACE_REVISION_ANNOTATION, "")
    known = int(text) if text.isascii() and text.isdigit() else 0
    same = annotations.get(WORKSPACE_HASH_ANNOTATION) == spec_hash(workspace)
    return known if same and known else known + 1


def revision(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """The annotations where they are not what they should be."""
    wanted = {
        WORKSPACE_HASH_ANNOTATION: spec_hash(workspace),
        WORKSPACE_REVISION_ANNOTATION: str(number(workspace)),
    }
    if wanted.items() <= workspace.metadata.annotations.items():
        return Plan()
    return Plan(annotations=wanted)
