"""Step: what serves already goes on serving while later steps wait for something. Pure.

An edit that needs another node, or one that cannot work at all, takes nothing away from the pods
that are there: they answer, and the Workspace says so.
"""

from __future__ import annotations

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.status import Rollout
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Condition
from workspace_controller.errors import UserError
from workspace_controller.manifests import service
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import effects, rollout, sizing
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.workload import live_manifest, of_manifest


def availability(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """InferenceReady by the pods that are there; later steps that know more have the last word."""
    live = live_manifest(seen)
    if live is None or not seen.pods:
        return Plan()
    nodes = of_manifest(live).nodes or 1
    selected = service.selected(seen.services.get(workspace.metadata.name))
    ordinals = range(nodes) if nodes > 1 else (selected,)
    name = workspace.metadata.name
    if not all(rollout.is_ready(rollout.of_ordinal(seen.pods, name, each)) for each in ordinals):
        return Plan()
    plan = Plan(conditions=(ready("Inference has been deployed successfully"),))
    needed = _nodes_needed(workspace, seen, settings)
    if needed is None or needed <= nodes:
        return plan
    message = f"{nodes} of {needed} nodes serve until all are there"
    after = Rollout(effect=effects.REPLACE_NODES, phase=rollout.REPLACING, message=message)
    return plan + Plan(status={"rollout": after})


def ready(message: str) -> Condition:
    return Condition(
        type=c.INFERENCE_READY, status="True", reason=c.REASON_INFERENCE_SUCCESS, message=message
    )


def _nodes_needed(workspace: Workspace, seen: Observed, settings: Settings) -> int | None:
    """None where no nodes are waited for, which is nearly always: then nothing is estimated."""
    if workspace.condition(c.RESOURCE_READY).status == "True":
        return None
    try:
        sized = sizing.size(workspace, seen, settings)
    except UserError:
        return None
    return None if sized is None else sized.need.nodes
