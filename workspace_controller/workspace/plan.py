"""What to do for a Workspace: the steps, in their order. Pure.

The list is the design. A step that waits for something keeps the later ones from having a say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from apis.kaito.v1beta1.workspace import Workspace
from workspace_controller.errors import UserError
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace.adapters import adapters
from workspace_controller.workspace.apikeys import keys
from workspace_controller.workspace.availability import availability
from workspace_controller.workspace.benchmark import benchmark
from workspace_controller.workspace.description import description
from workspace_controller.workspace.history import history
from workspace_controller.workspace.inference import inference
from workspace_controller.workspace.isolation import isolation
from workspace_controller.workspace.naming import naming
from workspace_controller.workspace.nodes import nodes
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.pins import pinning
from workspace_controller.workspace.revision import revision
from workspace_controller.workspace.tuning import idle, training, tuning

Step: TypeAlias = Callable[[Workspace, Observed, Settings], Plan]

SERVING: tuple[Step, ...] = (
    naming,
    revision,
    availability,
    isolation,
    description,
    keys,
    nodes,
    pinning,
    history,
    adapters,
    inference,
    benchmark,
)

TUNING: tuple[Step, ...] = (
    revision,
    training,
    description,
    nodes,
    pinning,
    history,
    tuning,
)


def make_plan(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """The sum of the steps, up to the first that waits or that only the user can help."""
    plan = Plan()
    for step in SERVING if workspace.tuning is None else TUNING:
        try:
            plan += step(workspace, seen, settings)
        except UserError as error:
            return plan + _refused(workspace, seen, settings, error)
        if plan.waits_for:
            break
    return plan


def _refused(workspace: Workspace, seen: Observed, settings: Settings, error: UserError) -> Plan:
    """What serves goes on serving; nodes on which nothing trains are not kept for long."""
    refused = Plan.refused(error)
    if workspace.tuning is None:
        return refused
    return refused + idle(workspace, seen, settings, error)
