"""Step: one node, where one is asked for. Pure."""

from __future__ import annotations

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.ragengine import RAGEngine
from kube.meta import Condition
from workspace_controller import tenancy
from workspace_controller.manifests.ragengine import Place, deployment
from workspace_controller.nodes import shapes
from workspace_controller.nodes.provisioner import Need, NodeShape
from workspace_controller.plan import Plan
from workspace_controller.ragengine.observed import Observed
from workspace_controller.settings import Settings
from workspace_controller.tenancyquotas import Wanted

_DISK_GIB = 128
"""The service's image, an embedding model, and indexes where no volume keeps them."""


def nodes(engine: RAGEngine, seen: Observed, settings: Settings) -> Plan:
    """What the provisioner plans to have one; without compute the pod runs where there is room."""
    if engine.resource is None:
        said = "no node of its own is asked for"
        return Plan(
            conditions=(Condition(type=c.RESOURCE_READY, status="True", message=said),),
            worker_nodes=(),
        )
    found = shape(engine, seen, settings)
    if found is None:
        return settings.nodes.waiting(engine, seen)
    plan = settings.nodes.plan(engine, seen, Need(found, 1, _DISK_GIB))
    return tenancy.limited(engine, seen, plan, settings, lambda: wanted(engine, seen, settings))


def wanted(engine: RAGEngine, seen: Observed, settings: Settings) -> Wanted:
    """What is still to be made of it, as ResourceQuotas count it."""
    made = deployment(engine, Place(shape(engine, seen, settings)), settings, chosen=seen.chosen)
    missing = int(all(each.ended for each in seen.pods))
    return Wanted(
        made["spec"]["template"]["spec"],
        missing,
        {
            "count/deployments.apps": int(seen.deployment is None),
            "services": int(seen.service is None),
            "count/services": int(seen.service is None),
        },
    )


def shape(engine: RAGEngine, seen: Observed, settings: Settings) -> NodeShape | None:
    """What the node is like; None without one, and while nobody knows."""
    asked = engine.resource
    if asked is None:
        return None
    found = settings.nodes.shape(engine, seen)
    if found is None or asked.partition is None or settings.facts.byo:
        return found
    return shapes.part(found, asked.partition)
