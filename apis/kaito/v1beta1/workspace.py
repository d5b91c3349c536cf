"""Workspace (kaito.sh/v1beta1, the storage version): a model to serve or to tune, and on what.

`resource`, `inference` and `tuning` stand at the root, as upstream has them; a `spec` is only
there for the webhook to lift (`apis.kaito.defaults`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from apis.kaito import schema
from apis.kaito.v1beta1.status import WorkspaceStatus
from apis.model import (
    ApiModel,
    ApiObject,
    Schema,
    condition_or_unknown,
)
from kube.meta import Condition, Resource

Preserved = Annotated[dict[str, Any], WithJsonSchema(schema.PRESERVED)]


class LabelSelectorRequirement(ApiModel):
    """metav1.LabelSelectorRequirement: operator In with one value, which is a label as well."""

    model_config = ConfigDict(json_schema_extra=schema.EXPRESSION)

    key: Annotated[str, Schema(schema.EXPRESSION_KEY)]
    operator: str
    values: Annotated[
        tuple[Annotated[str, Schema(schema.LABEL)], ...], Schema(schema.EXPRESSION_VALUES)
    ] = ()


class LabelSelector(ApiModel):
    """metav1.LabelSelector: labels, in either of two forms."""

    model_config = ConfigDict(json_schema_extra=schema.SELECTOR)

    match_labels: Annotated[
        dict[str, Annotated[str, Schema(schema.LABEL)]], Schema({"maxProperties": 100})
    ] = Field(default_factory=dict)
    match_expressions: Annotated[
        tuple[LabelSelectorRequirement, ...], Schema(schema.EXPRESSIONS)
    ] = ()

    @property
    def pairs(self) -> dict[str, str]:
        """The labels that are asked for; an expression that is none is left out."""
        return self.match_labels | {
            each.key: each.values[0]
            for each in self.match_expressions
            if each.operator == "In" and len(each.values) == 1
        }


class Partition(ApiModel):
    """A part of a node's GPUs, on nodes that one brings along."""

    mode: Annotated[str, Schema({"enum": ["mig", "accelerator"]})]
    """`mig` for a slice of a GPU, `accelerator` for some of the GPUs of a node."""
    profile: Annotated[str, Schema({"maxLength": 32})] = ""
    """The MIG slice, as 1g.10gb."""
    count: Annotated[int | None, Schema({"minimum": 1})] = None
    """How many GPUs, with mode accelerator."""


class ResourceSpec(ApiModel):
    """Which nodes, and how many."""

    model_config = ConfigDict(json_schema_extra=schema.RESOURCE)

    count: Annotated[int, Schema(schema.COUNT, default=1)] = 1
    """How many nodes; presets on vLLM are laid out by what the model needs instead."""
    instance_type: str = ""
    """The nodes' instance type; left out where nodes are brought along (byo)."""
    label_selector: LabelSelector
    """Labels that the nodes have, or get where they are created."""
    preferred_nodes: tuple[str, ...] = ()
    """Names of nodes to take first, where nodes are brought along."""
    partition: Annotated[Partition | None, Schema(schema.PARTITION)] = None
    """A part of the GPUs of nodes that one brings along."""


class PresetOptions(ApiModel):
    """How a preset is fetched."""

    image: Annotated[str, Schema(schema.IMAGE)] = ""
    """An image of one's own that serves the preset, in place of the release's."""
    image_pull_secrets: Annotated[
        tuple[Annotated[str, Schema(schema.OBJECT_NAME)], ...], Schema(schema.OBJECT_NAMES)
    ] = ()
    """Secrets of the same namespace to pull the image with."""
    model_access_secret: Annotated[str, Schema(schema.OBJECT_NAME)] = ""
    """A Secret of the same namespace, whose key HF_TOKEN opens gated models."""


class PresetSpec(ApiModel):
    """A model by name."""

    model_config = ConfigDict(json_schema_extra=schema.PRESET)

    name: Annotated[str, Schema(schema.PRESET_NAME)]
    """A name of the catalogue, or a model of Hugging Face as owner/model; in any case."""
    access_mode: Annotated[str, Schema(schema.ACCESS_MODE, default="public")] = "public"
    preset_options: PresetOptions = PresetOptions()
    """How the preset is fetched."""


class DataSource(ApiModel):
    """Where data comes from: one of urls, volume_source, image, hugging_face."""

    name: Annotated[str, Schema(schema.SOURCE_NAME)] = ""
    """Names the data; for an adapter it is its served name."""
    urls: tuple[str, ...] = ()
    """Public files to download (tuning)."""
    volume_source: Preserved | None = None
    """A core/v1 VolumeSource that holds the data."""
    image: Annotated[str, Schema(schema.IMAGE)] = ""
    """An image that holds the data under /data."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of the same namespace to pull the image with."""
    hugging_face: Annotated[str, Schema(schema.HUGGING_FACE)] = ""
    """An adapter of Hugging Face, or (tuning) a data set, as owner/repo or owner/repo@commit."""


class DataDestination(ApiModel):
    """Where data goes: one of volume_source, image."""

    volume_source: Preserved | None = None
    """A core/v1 VolumeSource that takes the result."""
    image: Annotated[str, Schema(schema.IMAGE)] = ""
    """The image that the result is pushed as."""
    image_push_secret: str = ""
    """A Secret of the same namespace to push the image with."""


class AdapterSpec(ApiModel):
    """A LoRA adapter to serve beside the model."""

    model_config = ConfigDict(json_schema_extra=schema.ADAPTER)

    source: DataSource | None = None
    """Where the adapter comes from."""
    strength: Annotated[str | None, Schema(schema.STRENGTH)] = None
    """Weight of the adapter from 0 to 1, as text."""


Adapters = Annotated[tuple[AdapterSpec, ...], Schema(schema.ADAPTERS)]


class InferenceSpec(ApiModel):
    """Serve a preset, or a pod template of one's own."""

    model_config = ConfigDict(json_schema_extra=schema.INFERENCE)

    preset: PresetSpec | None = None
    """The model to serve."""
    template: Preserved | None = None
    """A core/v1 PodTemplateSpec to run in place of a preset."""
    config: str = ""
    """A ConfigMap of the same namespace with engine arguments (inference_config.yaml)."""
    adapters: Adapters = ()
    """LoRA adapters to serve beside the model."""


class TuningSpec(ApiModel):
    """Fine-tune a preset with data."""

    model_config = ConfigDict(json_schema_extra=schema.TUNING)

    preset: PresetSpec | None = None
    """The model to tune."""
    method: Annotated[str, Schema(schema.METHOD)] = ""
    """lora, qlora, or full: all weights and no adapter."""
    config: str = ""
    """A ConfigMap of the same namespace with training arguments (training_config.yaml)."""
    input: Annotated[DataSource, Schema(schema.INPUT)]
    """The data to train with."""
    output: Annotated[DataDestination, Schema(schema.OUTPUT)]
    """Where the adapter goes."""


class Workspace(ApiObject):
    """A model, and the nodes for it."""

    model_config = ConfigDict(json_schema_extra=schema.WORKSPACE)

    api_version: str = "kaito.sh/v1beta1"
    kind: str = "Workspace"
    resource: ResourceSpec | None = None
    """Which nodes, and how many."""
    inference: InferenceSpec | None = None
    """What to serve."""
    tuning: TuningSpec | None = None
    """What to tune."""
    spec: Annotated[dict[str, Any] | None, WithJsonSchema(schema.EARLY_FORM)] = None
    status: WorkspaceStatus = WorkspaceStatus()

    def condition(self, kind: str) -> Condition:
        """The condition; Unknown, AwaitingReconciliation where it was never set."""
        return condition_or_unknown(self.status.conditions, kind)


WORKSPACES = Resource("kaito.sh", "v1beta1", "Workspace", "workspaces", Workspace)
