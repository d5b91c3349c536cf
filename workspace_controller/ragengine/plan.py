"""What to do for a RAGEngine: the steps, in their order. Pure.

The list is the design. A step that waits for something keeps the later ones from having a say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from apis.kaito.v1beta1 import conditions as shared
from apis.kaito.v1beta1.ragengine import RAGEngine
from kube.meta import find_condition
from workspace_controller.errors import UserError
from workspace_controller.plan import Plan
from workspace_controller.ragengine import conditions as c
from workspace_controller.ragengine.isolation import isolation
from workspace_controller.ragengine.nodes import nodes
from workspace_controller.ragengine.observed import Observed
from workspace_controller.ragengine.references import references
from workspace_controller.ragengine.service import availability, service
from workspace_controller.settings import Settings

Step: TypeAlias = Callable[[RAGEngine, Observed, Settings], Plan]

STEPS: tuple[Step, ...] = (availability, references, isolation, nodes, service)


def make_plan(engine: RAGEngine, seen: Observed, settings: Settings) -> Plan:
    """The sum of the steps, up to the first that waits or that only the user can help."""
    plan = Plan()
    for step in STEPS:
        try:
            plan += step(engine, seen, settings)
        except UserError as error:
            told = _nodes_told(engine, seen, settings) if step is references else Plan()
            return _refused(plan + told, error)
        if plan.waits_for:
            break
    return plan


def _nodes_told(engine: RAGEngine, seen: Observed, settings: Settings) -> Plan:
    """What was said of nodes once must not outlive them; none is asked for or given back."""
    if find_condition(engine.status.conditions, shared.RESOURCE_READY) is None:
        return Plan()
    try:
        found = nodes(engine, seen, settings)
    except UserError:
        return Plan()
    return Plan(conditions=found.conditions, worker_nodes=found.worker_nodes)


def _refused(plan: Plan, error: UserError) -> Plan:
    """What answers goes on answering, and says what it does not do."""
    refused = Plan.refused(error)
    ready = find_condition(plan.conditions, c.SERVICE_READY)
    if error.condition != c.SERVICE_READY or ready is None or ready.status != "True":
        return plan + refused
    message = f"{ready.message}; the newest spec is not applied: {error.message}"
    kept = msgspec.structs.replace(ready, message=message)
    return plan + dataclasses.replace(refused, conditions=(kept,))
