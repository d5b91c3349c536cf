"""How a Workspace lies on its nodes: model, shape and fit, from which the rest follows. Pure.

The node count and the engine's flags come from the same `Fit`, so that what was planned is
what is started. What the user must mend is said in the words of admission.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import PresetSpec, Workspace
from apis.kaito.validation import Facts, FieldError, describe
from apis.kaito.validation import inference as inference_rules
from apis.kaito.validation import metadata as metadata_rules
from apis.kaito.validation import resource as resource_rules
from presets import estimate
from presets.catalog import Catalog, UnknownModelError
from presets.estimate import DoesNotFitError, Fit
from presets.fits import Engine
from presets.model import Model
from workspace_controller.errors import UserError
from workspace_controller.nodes.provisioner import Need, NodeShape
from workspace_controller.settings import Settings
from workspace_controller.workspace import config
from workspace_controller.workspace.observed import Observed

_TEMPLATE_DISK_GIB = 1024
"""Nobody knows what a user's own image needs; upstream's number."""


@dataclass(frozen=True, slots=True)
class Served:
    """A preset and how it lies on the nodes."""

    model: Model
    fit: Fit


@dataclass(frozen=True, slots=True)
class Sizing:
    """What is served, and what it needs. `served` is None for the user's own pod template."""

    need: Need
    served: Served | None


def size(workspace: Workspace, seen: Observed, settings: Settings) -> Sizing | None:
    """None while no node is there to tell its shape; UserError where it can never work."""
    facts = _facts(workspace, seen, settings.facts)
    _refuse("InvalidWorkspace", metadata_rules.one_workload(workspace, facts))
    _refuse("InvalidWorkspace", inference_rules.one_source(workspace, facts))
    _refuse("InvalidInstanceType", resource_rules.instance_type(workspace, facts))
    _refuse("InvalidPreset", inference_rules.preset(workspace, facts))
    _refuse("RuntimeNotSupported", inference_rules.runtime(workspace, facts))
    _refuse("InvalidConfig", inference_rules.config(workspace, facts))
    shape = settings.nodes.shape(workspace, seen)
    if shape is None:
        return None
    preset = workspace.inference.preset if workspace.inference else None
    if preset is None:
        count = workspace.resource.count if workspace.resource else 1
        return Sizing(Need(shape, max(1, count), _TEMPLATE_DISK_GIB), served=None)
    return _of_preset(workspace, seen, settings.catalog, shape, preset)


def _of_preset(
    workspace: Workspace, seen: Observed, catalog: Catalog, shape: NodeShape, preset: PresetSpec
) -> Sizing:
    try:
        model = catalog.get(preset.name)
        fit = estimate.fit(
            model,
            shape.gpu,
            memory_gib=shape.memory_gib,
            cpus=shape.cpus,
            max_model_len=config.max_model_len(workspace, seen.config),
            engine=_engine(workspace),
            mig_profile=shape.mig_profile,
        )
    except UnknownModelError as error:
        raise UserError(
            c.RESOURCE_READY, "InvalidPreset", f"inference.preset.name: {error}"
        ) from error
    except DoesNotFitError as error:
        path = "resource.instanceType" if shape.instance_type else "resource.labelSelector"
        raise UserError(c.RESOURCE_READY, "ModelDoesNotFit", f"{path}: {error}") from error
    return Sizing(Need(shape, fit.nodes, model.disk_gib), Served(model, fit))


def _facts(workspace: Workspace, seen: Observed, known: Facts) -> Facts:
    """With the ConfigMap that was looked up, which is the only one that the rules ask for."""
    data = None if seen.config is None else seen.config.data
    return dataclasses.replace(known, config_map=lambda _: data)


def _refuse(reason: str, errors: Iterable[FieldError]) -> None:
    if message := describe(errors):
        raise UserError(c.RESOURCE_READY, reason, message)


def _engine(workspace: Workspace) -> Engine | None:
    """What the user asked for; None leaves it to the nodes: vLLM, or llama.cpp without GPUs."""
    asked = workspace.metadata.annotations.get(labels.RUNTIME_ANNOTATION)
    if asked == labels.RUNTIME_LLAMACPP:
        return "llamacpp"
    return "vllm" if asked == labels.RUNTIME_VLLM else None
