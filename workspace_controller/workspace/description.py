"""Step: what the model is like, before anything is paid for. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Condition
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import models, sizing, tuningsize
from workspace_controller.workspace.models import Pending
from workspace_controller.workspace.observed import Observed


def description(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Remembers what Hugging Face said of a model, or waits for it without asking for nodes."""
    invalid = sizing if workspace.tuning is None else tuningsize
    invalid.refuse_invalid(workspace, seen, settings)
    if isinstance(seen.model, Pending):
        told = Condition(
            type=c.RESOURCE_READY,
            status="False",
            reason=models.REASON_PENDING,
            message=seen.model.message,
        )
        return Plan(
            conditions=(told,), waits_for=models.REASON_PENDING, look_again=seen.model.look_again
        )
    return Plan(annotations=models.annotation(workspace, seen.model, settings.catalog))
