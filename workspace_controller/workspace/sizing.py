"""How a Workspace lies on its nodes: model, shape and fit, from which the rest follows. Pure.

The node count and the engine's flags come from the same `Fit`, so that what was planned is
what is started. What the user must mend is said in the words of admission.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import PresetSpec, Workspace
from apis.kaito.validation import Facts, FieldError, describe
from apis.kaito.validation import inference as inference_rules
from apis.kaito.validation import metadata as metadata_rules
from apis.kaito.validation import resource as resource_rules
from apis.kaito.validation import weights as weights_rules
from presets.engines import registry
from presets.estimate import DoesNotFitError, Fit
from presets.model import GIB, Model
from workspace_controller.errors import UserError
from workspace_controller.nodes.provisioner import Need, NodeShape
from workspace_controller.settings import Settings
from workspace_controller.workspace import layout, models, pins, weights
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.weights import Source

_TEMPLATE_DISK_GIB = 1024
"""Nobody knows what a user's own image needs; upstream's number."""


@dataclass(frozen=True, slots=True)
class Served:
    """A preset and how it lies on the nodes."""

    model: Model
    fit: Fit
    source: Source
    options: Mapping[str, object] = field(default_factory=dict)
    """The engine's section of the user's ConfigMap."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What is served, and what it needs. `served` is None for the user's own pod template."""

    need: Need
    served: Served | None


def size(workspace: Workspace, seen: Observed, settings: Settings) -> Sizing | None:
    """None while no node is there to tell its shape; UserError where it can never work."""
    refuse_invalid(workspace, seen, settings)
    shape = settings.nodes.shape(workspace, seen)
    if shape is None:
        return None
    preset = workspace.inference.preset if workspace.inference else None
    if preset is None:
        count = workspace.resource.count if workspace.resource else 1
        return Sizing(Need(shape, max(1, count), _TEMPLATE_DISK_GIB), served=None)
    return _of_preset(workspace, seen, settings, shape, preset)


def refuse_invalid(workspace: Workspace, seen: Observed, settings: Settings) -> None:
    """What admission would have said: the webhook may have been away, or the facts have changed."""
    facts = facts_of(workspace, seen, settings)
    refuse("InvalidWorkspace", metadata_rules.one_workload(workspace, facts))
    refuse("InvalidWorkspace", inference_rules.one_source(workspace, facts))
    refuse("InvalidInstanceType", resource_rules.instance_type(workspace, facts))
    refuse("InvalidPreset", inference_rules.preset(workspace, facts))
    refuse("RuntimeNotSupported", inference_rules.runtime(workspace, facts))
    refuse("InvalidWeights", weights_rules.source(workspace, facts))
    refuse("InvalidConfig", inference_rules.config(workspace, facts))


def _of_preset(
    workspace: Workspace, seen: Observed, settings: Settings, shape: NodeShape, preset: PresetSpec
) -> Sizing | None:
    model = models.model(workspace, seen.model, settings.catalog)
    if model is None:
        return None
    model = pins.as_pinned(workspace, model, seen)
    vllm = settings.facts.gate("vLLM", default=True)
    try:
        fit, wanted = layout.lay_out(
            workspace, model, shape, seen.config, vllm=vllm, estimator=settings.estimator
        )
    except DoesNotFitError as error:
        path = "resource.instanceType" if shape.instance_type else "resource.labelSelector"
        raise UserError(c.RESOURCE_READY, "ModelDoesNotFit", f"{path}: {error}") from error
    source = weights.source(workspace, model, fit, seen, settings, nvme=shape.nvme)
    disk = weights.disk_gib(workspace, model)
    return Sizing(Need(shape, fit.nodes, disk), Served(model, fit, source, wanted.options))


def facts_of(workspace: Workspace, seen: Observed, settings: Settings) -> Facts:
    """With the ConfigMap that was looked up, and a model that the catalogue does not have."""
    data = None if seen.config is None else seen.config.data
    facts = dataclasses.replace(settings.facts, config_map=lambda _: data)
    found = models.remembered(workspace) or seen.model
    if not isinstance(found, Model):
        return facts
    return dataclasses.replace(
        facts,
        preset_known=lambda _: True,
        max_model_len=lambda _: found.max_model_len,
        weights_gib=lambda _: found.weights_bytes / GIB,
        auth_required=lambda _: found.auth_required,
        runtime_refusal=lambda _, runtime: registry.refusal(found, runtime),
    )


def refuse(reason: str, errors: Iterable[FieldError]) -> None:
    """Raises UserError where there is any."""
    if message := describe(errors):
        raise UserError(c.RESOURCE_READY, reason, message)
