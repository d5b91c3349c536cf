"""The workload that the controller would apply for a Workspace on one machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from apis.kaito.v1beta1.workspace import TuningSpec, Workspace
from kaito.compose.table import ComposeError
from kube.meta import Manifest, ObjectMeta
from kube.objects import ConfigMap
from presets.engines import registry
from workspace_controller.manifests.containers import Images
from workspace_controller.manifests.tuning import tuning_job
from workspace_controller.settings import Settings
from workspace_controller.workspace import models, sizing, tuningsize
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.weights import Source
from workspace_controller.workspace.workload import workload

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""No decision about a pod rests on the time."""


@dataclass(frozen=True, slots=True)
class Made:
    """A StatefulSet or a Job. `engine` serves the preset, and is empty for a pod of the user's own
    and for a tuning. `tools` is an image of ours with a shell."""

    kind: str
    spec: Manifest
    nodes: int
    tools: str
    engine: str = ""
    source: Source | None = None


def made(workspace: Workspace, config_maps: Mapping[str, Mapping[str, str]], on: Settings) -> Made:
    """Raises UserError where it can never work, ComposeError where nobody knows the model."""
    part = workspace.tuning or workspace.inference
    named = part.config if part else ""
    config = None
    if named in config_maps:
        data = dict(config_maps[named])
        config = ConfigMap(metadata=ObjectMeta(name=named), data=data)
    seen = Observed(now=_ALWAYS, config=config)
    name = models.preset_name(workspace)
    if name and models.known(workspace, on.catalog) is None:
        raise ComposeError(
            [
                f'"{name}" is not in the catalogue: annotate the Workspace with'
                f" {models.RESOLVED_ANNOTATION}, which `kaito estimate --preset {name}"
                " -o annotation` prints"
            ]
        )
    if workspace.tuning is not None:
        return _tuning(workspace, workspace.tuning, seen, on)
    return _inference(workspace, seen, on)


def _inference(workspace: Workspace, seen: Observed, settings: Settings) -> Made:
    sized = sizing.size(workspace, seen, settings)
    if sized is None:
        raise AssertionError("model and machine are known")
    spec = workload(workspace, seen, sized, settings).manifest["spec"]
    images = Images(settings.registry, settings.image_tag)
    if sized.served is None:
        return Made("StatefulSet", spec, sized.need.nodes, images.serving("llamacpp"))
    engine = sized.served.fit.engine
    tools = images.tools(registry.ENGINES[engine])
    return Made("StatefulSet", spec, sized.need.nodes, tools, engine, sized.served.source)


def _tuning(workspace: Workspace, work: TuningSpec, seen: Observed, settings: Settings) -> Made:
    tuned = tuningsize.size(workspace, seen, settings)
    if tuned is None:
        raise AssertionError("model and machine are known")
    job = tuning_job(workspace, work, tuned, settings, run="", number=1)
    images = Images(settings.registry, settings.image_tag)
    return Made("Job", job["spec"], tuned.need.nodes, images.tuning, source=tuned.source)
