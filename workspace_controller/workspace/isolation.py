"""Step: who reaches the model. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from workspace_controller import tenancyisolation
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace.observed import Observed


def isolation(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Nothing where the installation asks for no NetworkPolicies."""
    return tenancyisolation.isolated(workspace, seen.policy, settings, c.RESOURCE_READY)
