"""What a Workspace says of itself (`status` of kaito.sh/v1beta1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from apis.kaito import schema
from apis.model import ApiModel, ConditionField, Schema


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
    """Surging, Replacing, Stuck, or Complete."""
    message: str = ""


class ForeignEdit(ApiModel):
    """Fields of a child that somebody else owns, and that are therefore left as they are."""

    object: str
    """As StatefulSet/name."""
    manager: str
    """The field manager, as kubectl-edit."""
    fields: tuple[str, ...] = ()
    """Paths, as spec.template.spec.containers[name=falcon].args."""


class TuningStatus(ApiModel):
    """How far a fine-tuning is, and what came of it. Losses are texts, for the API has no floats
    that survive every client."""

    step: Annotated[int, Schema({"format": "int32"})] = 0
    """Optimiser steps that are done."""
    steps: Annotated[int, Schema({"format": "int32"})] = 0
    """Optimiser steps in all."""
    loss: str = ""
    """Of the last steps, on the training data."""
    eval_loss_before: str = ""
    """Mean cross entropy a token of held-out data, of the model as it was."""
    eval_loss: str = ""
    """The same, of the model as it is tuned so far."""
    tokens_per_second: str = ""
    checkpoint_step: Annotated[int, Schema({"format": "int32"})] = 0
    """The step that another pod would go on from; 0 is none."""
    eta: str = ""
    """How long it still takes, as 3m."""
    attempts: Annotated[int, Schema({"format": "int32"})] = 0
    """Pods that were started for it."""
    output: str = ""
    """Where the result is: an image by its digest, or a directory of the volume."""


class ColdStart(ApiModel):
    """How long the newest start took, by stage. Seconds are texts, as losses are; the stages are
    defined in `workspace_controller.workspace.coldstart`."""

    pod: str
    """The pod that was ready last."""
    node: str = ""
    started_at: Annotated[str, Schema({"format": "date-time"})] = ""
    """When the first of it was asked for: the Workspace, its node, or the pod."""
    ready_at: Annotated[str, Schema({"format": "date-time"})] = ""
    seconds: str = ""
    """From the one to the other; what no stage accounts for was spent between stages."""
    stages: dict[str, str] = Field(default_factory=dict)
    """Seconds by stage: claim, launch, boot, driver, image, weights, load, first_token."""


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
    cold_start: ColdStart | None = None
    """How long its newest start took, by stage."""
    endpoint: str = ""
    """Where the model answers inside the cluster."""
    serving: Serving | None = None
    """How the model is served."""
    tuning: TuningStatus | None = None
    """How far the fine-tuning is."""
    adapters: tuple[AdapterStatus, ...] = ()
    """The adapters that were asked for, or are still served."""
    rollout: Rollout | None = None
    """What the last edit meant for what runs."""
    foreign_edits: tuple[ForeignEdit, ...] = ()
    """What others have edited in the children; it stays until they take it back."""
