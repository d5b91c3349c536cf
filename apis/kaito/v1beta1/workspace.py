"""Workspace (kaito.sh/v1beta1, the storage version): a model to serve or to tune, and on what.

`resource`, `inference` and `tuning` stand at the root, as upstream has them; a `spec` is only
there for the webhook to lift (`apis.kaito.defaults`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from apis.kaito import schema
from apis.model import (
    ApiModel,
    ApiObject,
    ConditionField,
    Schema,
    condition_or_unknown,
)
from kube.meta import Condition, Resource

Preserved = Annotated[dict[str, Any], WithJsonSchema(schema.PRESERVED)]


class LabelSelectorRequirement(ApiModel):
    """metav1.LabelSelectorRequirement."""

    key: str
    operator: str
    values: Annotated[tuple[str, ...], Schema({"x-kubernetes-list-type": "atomic"})] = ()


class LabelSelector(ApiModel):
    """metav1.LabelSelector. Nodes are chosen by `match_labels` alone."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    match_labels: Annotated[
        dict[str, Annotated[str, Schema({"maxLength": 63})]], Schema({"maxProperties": 100})
    ] = Field(default_factory=dict)
    match_expressions: Annotated[
        tuple[LabelSelectorRequirement, ...], Schema({"x-kubernetes-list-type": "atomic"})
    ] = ()


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

    model_config = ConfigDict(json_schema_extra=schema.PARTITIONED_RESOURCE)

    count: Annotated[int, Schema(schema.COUNT, default=1)] = 1
    """How many nodes; presets on vLLM are laid out by what the model needs instead."""
    instance_type: str = ""
    """The nodes' instance type; left out where nodes are brought along (byo)."""
    label_selector: LabelSelector
    """Labels that the nodes have, or get where they are created."""
    preferred_nodes: tuple[str, ...] = ()
    """Deprecated, and not looked at."""
    partition: Annotated[Partition | None, Schema(schema.PARTITION)] = None
    """A part of the GPUs of nodes that one brings along."""


class PresetOptions(ApiModel):
    """How a preset is fetched."""

    image: str = ""
    """Deprecated, and not looked at."""
    image_pull_secrets: tuple[str, ...] = ()
    """Deprecated, and not looked at."""
    model_access_secret: str = ""
    """A Secret of the same namespace, whose key HF_TOKEN opens gated models."""


class PresetSpec(ApiModel):
    """A model by name."""

    name: str
    """A name of the catalogue, or a model of Hugging Face as owner/model; in any case."""
    access_mode: Annotated[str, Schema({"enum": ["public", "private"]}, default="public")] = (
        "public"
    )
    preset_options: PresetOptions = PresetOptions()
    """How the preset is fetched."""


class DataSource(ApiModel):
    """Where data comes from: one of urls, volume_source, image."""

    name: str = ""
    """Names the data; for an adapter it is its served name."""
    urls: tuple[str, ...] = ()
    """Public files to download (tuning)."""
    volume_source: Preserved | None = None
    """A core/v1 VolumeSource that holds the data."""
    image: str = ""
    """An image that holds the data under /data."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of the same namespace to pull the image with."""


class DataDestination(ApiModel):
    """Where data goes: one of volume_source, image."""

    volume_source: Preserved | None = None
    """A core/v1 VolumeSource that takes the result."""
    image: str = ""
    """The image that the result is pushed as."""
    image_push_secret: str = ""
    """A Secret of the same namespace to push the image with."""


class AdapterSpec(ApiModel):
    """A LoRA adapter to serve beside the model."""

    source: DataSource | None = None
    """Where the adapter comes from."""
    strength: str | None = None
    """Weight of the adapter from 0 to 1, as text; for the Transformers runtime."""


Adapters = Annotated[tuple[AdapterSpec, ...], Schema({})]


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

    preset: PresetSpec | None = None
    """The model to tune."""
    method: str = ""
    """lora or qlora."""
    config: str = ""
    """A ConfigMap of the same namespace with training arguments (training_config.yaml)."""
    input: DataSource
    """The data to train with."""
    output: DataDestination
    """Where the adapter goes."""


class Metric(ApiModel):
    """One figure that was measured."""

    description: str
    value: str
    unit: str = ""
    config: dict[str, str] = Field(default_factory=dict)


class Performance(ApiModel):
    """What the benchmark found."""

    metrics: dict[str, Metric] = Field(default_factory=dict)


class Progress(ApiModel):
    """What the Workspace waits for, in the words of a person who is asked why it is not ready."""

    stage: str
    """Where it is on its way: Validating, WaitingForQuota … Ready."""
    reason: str = ""
    """The cloud's, the scheduler's or the kubelet's own word."""
    message: str = ""
    """One line: what is waited for, and what was said about it."""
    since: Annotated[str, Schema({"format": "date-time"})] = ""
    """When this stage began."""
    usual: str = ""
    """How long the stage usually takes, as 3m."""
    next_step: str = ""
    """What the user can do; empty where waiting is all."""


class Serving(ApiModel):
    """How the model is served: what was decided from model and machine."""

    model: str = ""
    """As owner/model of Hugging Face, or the preset's name."""
    revision: str = ""
    """The commit, or the digest, that the weights come from."""
    engine: str = ""
    """vllm, transformers, llamacpp, tgi; empty for a pod template."""
    max_model_len: Annotated[int, Schema({"format": "int32"})] = 0
    """Tokens that a request can be certain of; 0 where the engine decides."""
    parallelism: str = ""
    """As tensor 2, pipeline 1, data 1."""
    weights: str = ""
    """Where the weights come from."""


class AdapterStatus(ApiModel):
    """An adapter, and whether it is served."""

    name: str
    state: str
    """Pending, Loading, Ready, Failed or Removing."""
    message: str = ""


class Rollout(ApiModel):
    """What the last edit meant for what runs."""

    effect: str
    """None, Hot (applied to running pods), RollPods or ReplaceNodes."""
    phase: str = ""
    """Surging, Replacing, or Complete."""
    message: str = ""


class ForeignEdit(ApiModel):
    """Fields of a child that somebody else owns, and that are therefore left as they are."""

    object: str
    """As StatefulSet/name."""
    manager: str
    """The field manager, as kubectl-edit."""
    fields: tuple[str, ...] = ()
    """Paths, as spec.template.spec.containers[name=falcon].args."""


class WorkspaceStatus(ApiModel):
    """What became of it."""

    worker_nodes: tuple[str, ...] = ()
    """The nodes that run the workload."""
    state: str = ""
    """Pending, Ready or NotReady; tuning: Pending, Running, Succeeded or Failed."""
    conditions: tuple[Annotated[ConditionField, WithJsonSchema(schema.CONDITION)], ...] = ()
    target_node_count: Annotated[int, Schema({"format": "int32"})] = 0
    """How many nodes were found to be needed."""
    performance: Performance | None = None
    """What the benchmark found."""
    progress: Progress | None = None
    """Why it is not ready, or since when it is."""
    endpoint: str = ""
    """Where the model answers inside the cluster."""
    serving: Serving | None = None
    """How the model is served."""
    adapters: tuple[AdapterStatus, ...] = ()
    """The adapters that were asked for, or are still served."""
    rollout: Rollout | None = None
    """What the last edit meant for what runs."""
    foreign_edits: tuple[ForeignEdit, ...] = ()
    """What others have edited in the children; it stays until they take it back."""


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
