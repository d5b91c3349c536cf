"""How a tuning lies on its node: model, shape and memory, from which the Job follows. Pure.

What the user must mend is said in the words of admission, before a node is paid for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import TuningSpec, Workspace
from apis.kaito.validation import metadata as metadata_rules
from apis.kaito.validation import resource as resource_rules
from apis.kaito.validation import tuning as tuning_rules
from apis.kaito.validation import weights as weights_rules
from presets import tuning
from presets.fits import DoesNotFitError, Fit
from presets.model import GIB, Model
from presets.tuning import NotTunableError, Recipe
from workspace_controller.errors import UserError
from workspace_controller.nodes.provisioner import Need, NodeShape
from workspace_controller.settings import Settings
from workspace_controller.workspace import models, pins, recipe, sizing, weights
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.weights import Source


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is tuned, and what it needs."""

    need: Need
    model: Model
    fit: Fit
    source: Source
    recipe: Recipe
    output_dir: str


def size(workspace: Workspace, seen: Observed, settings: Settings) -> Tuned | None:
    """None while nobody knows the model, or no node is there to tell its shape; UserError where
    it can never work."""
    work = workspace.tuning
    refuse_invalid(workspace, seen, settings)
    shape = settings.nodes.shape(workspace, seen)
    if work is None or shape is None:
        return None
    model = models.model(workspace, seen.model, settings.catalog)
    return None if model is None else _of_model(workspace, work, seen, settings, shape, model)


def refuse_invalid(workspace: Workspace, seen: Observed, settings: Settings) -> None:
    """What admission would have said: the webhook may have been away, or the facts have changed."""
    facts = sizing.facts_of(workspace, seen, settings)
    sizing.refuse("InvalidWorkspace", metadata_rules.one_workload(workspace, facts))
    sizing.refuse("InvalidInstanceType", resource_rules.instance_type(workspace, facts))
    sizing.refuse("InvalidPreset", tuning_rules.preset(workspace, facts))
    for rule in (
        tuning_rules.resources,
        tuning_rules.method,
        tuning_rules.source,
        tuning_rules.destination,
    ):
        sizing.refuse("InvalidTuning", rule(workspace, facts))
    sizing.refuse("InvalidWeights", weights_rules.source(workspace, facts))
    sizing.refuse("InvalidConfig", tuning_rules.config(workspace, facts))


def _of_model(
    workspace: Workspace,
    work: TuningSpec,
    seen: Observed,
    settings: Settings,
    shape: NodeShape,
    known: Model,
) -> Tuned:
    model = pins.as_pinned(workspace, known, seen)
    wanted = recipe.wanted(work, seen.config)
    try:
        fit = tuning.fit(
            model, wanted.recipe, shape.gpu, memory_gib=shape.memory_gib, cpus=shape.cpus
        )
    except NotTunableError as error:
        message = f"tuning.preset.name: {error}"
        raise UserError(c.RESOURCE_READY, "InvalidPreset", message) from error
    except DoesNotFitError as error:
        path = "resource.instanceType" if shape.instance_type else "resource.labelSelector"
        raise UserError(c.RESOURCE_READY, "ModelDoesNotFit", f"{path}: {error}") from error
    # Claims of their own have the pods of StatefulSets alone.
    source = weights.source(workspace, model, fit, seen, settings, nvme=False)
    disk = weights.disk_gib(workspace, model)
    if wanted.recipe.method == "full":
        disk += math.ceil(2 * model.weights_bytes / GIB)
    need = Need(shape, 1, disk)
    return Tuned(need, model, fit, source, wanted.recipe, wanted.output_dir)
