"""Workspace as v1alpha1 has it: what differs from v1beta1, and nothing else.

No `partition`, no `modelAccessSecret`, a shorter status, and an instance type that is never
empty. There is no conversion: the API server changes the apiVersion and prunes.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, WithJsonSchema

from apis.kaito import schema
from apis.kaito.v1beta1 import workspace as v1beta1
from apis.model import ApiModel, ApiObject, ConditionField, Schema
from kube.meta import Resource

DEFAULT_INSTANCE_TYPE = "Standard_NC24ads_A100_v4"


class ResourceSpec(ApiModel):
    """Which nodes, and how many."""

    model_config = ConfigDict(json_schema_extra=schema.RESOURCE)

    count: Annotated[int, Schema(schema.COUNT, default=1)] = 1
    instance_type: Annotated[str, Schema({}, default=DEFAULT_INSTANCE_TYPE)] = DEFAULT_INSTANCE_TYPE
    label_selector: v1beta1.LabelSelector
    preferred_nodes: tuple[str, ...] = ()


class PresetOptions(ApiModel):
    """How a preset is fetched."""

    image: str = ""
    image_pull_secrets: tuple[str, ...] = ()


class PresetSpec(ApiModel):
    """A model by name."""

    name: str
    access_mode: Annotated[str, Schema({"enum": ["public", "private"]}, default="public")] = (
        "public"
    )
    preset_options: PresetOptions = PresetOptions()


class InferenceSpec(ApiModel):
    """Serve a preset, or a pod template of one's own."""

    model_config = ConfigDict(json_schema_extra=schema.INFERENCE)

    preset: PresetSpec | None = None
    template: v1beta1.Preserved | None = None
    config: str = ""
    adapters: v1beta1.Adapters = ()


class TuningSpec(ApiModel):
    """Fine-tune a preset with data."""

    preset: PresetSpec | None = None
    method: str = ""
    config: str = ""
    input: v1beta1.DataSource
    output: v1beta1.DataDestination


class WorkspaceStatus(ApiModel):
    """What became of it."""

    worker_nodes: tuple[str, ...] = ()
    conditions: tuple[Annotated[ConditionField, WithJsonSchema(schema.CONDITION)], ...] = ()


class Workspace(ApiObject):
    """A model, and the nodes for it."""

    model_config = ConfigDict(json_schema_extra=schema.WORKSPACE)

    api_version: str = "kaito.sh/v1alpha1"
    kind: str = "Workspace"
    resource: ResourceSpec | None = None
    inference: InferenceSpec | None = None
    tuning: TuningSpec | None = None
    spec: Annotated[dict[str, Any] | None, WithJsonSchema(schema.EARLY_FORM)] = None
    status: WorkspaceStatus = WorkspaceStatus()


WORKSPACES_V1ALPHA1 = Resource("kaito.sh", "v1alpha1", "Workspace", "workspaces", Workspace)
