"""Step: fine-tuning. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from workspace_controller.errors import UserError
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace.observed import Observed


def tuning(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Refuses a Workspace that tunes, before any node is paid for."""
    if workspace.tuning is None:
        return Plan()
    raise UserError(
        c.JOB_STARTED,
        "TuningNotSupported",
        "this release does not run tuning yet; it serves models (`inference`)",
    )
