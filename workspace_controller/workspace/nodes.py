"""Step: as many nodes as the model needs, ready to take it. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1.workspace import Workspace
from workspace_controller import tenancy
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import podsneeded, sizing, tuningsize
from workspace_controller.workspace.observed import Observed


def nodes(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Says `targetNodeCount`, and what the provisioner plans to reach it, as far as the
    namespace's quotas have room."""
    size = sizing.size if workspace.tuning is None else tuningsize.size
    sized = size(workspace, seen, settings)
    if sized is None:
        return settings.nodes.waiting(workspace, seen)
    target = Plan(target_node_count=sized.need.nodes)
    plan = settings.nodes.plan(workspace, seen, sized.need)
    return target + tenancy.limited(
        workspace, seen, plan, settings, lambda: podsneeded.wanted(workspace, seen, settings)
    )
