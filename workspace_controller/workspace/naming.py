"""Step: the Service of its name is nobody else's. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from workspace_controller import namesakes
from workspace_controller.errors import UserError
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace.observed import Observed


def naming(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Nothing; raises UserError where a RAGEngine has it."""
    if seen.namesake:
        said = namesakes.message(workspace, seen.namesake)
        raise UserError(c.RESOURCE_READY, namesakes.REASON_NAME_TAKEN, said)
    return Plan()
