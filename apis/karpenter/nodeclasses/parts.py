"""What the node classes of all clouds have in common.

Each model lists the fields that our providers honour, in the spelling of Karpenter's own provider
for that cloud. Other fields are kept and ignored, so that a manifest that users already have
applies unchanged.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, WithJsonSchema

from apis.karpenter.v1 import schema
from apis.model import ApiModel, ConditionField, Quantity, Schema

OPEN = {"x-kubernetes-preserve-unknown-fields": True}
"""The API server keeps what the schema does not name."""


class Open(ApiModel):
    """A part that may have more fields than we read."""

    model_config = ConfigDict(json_schema_extra=dict(OPEN))


class NodeClassStatus(Open):
    """What the class stands for in the cloud now; each cloud adds its own fields."""

    conditions: Annotated[
        tuple[Annotated[ConditionField, WithJsonSchema(schema.CONDITION)], ...],
        Schema({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = ()


class KubeletConfiguration(Open):
    """What the node's kubelet is started with; names are those of KubeletConfiguration."""

    max_pods: Annotated[int | None, Schema({"minimum": 0, "format": "int32"})] = None
    pods_per_core: Annotated[int | None, Schema({"minimum": 0, "format": "int32"})] = None
    cluster_dns: tuple[str, ...] = Field(default=(), alias="clusterDNS")
    system_reserved: dict[str, Quantity] = Field(default_factory=dict)
    kube_reserved: dict[str, Quantity] = Field(default_factory=dict)
    eviction_hard: dict[str, str] = Field(default_factory=dict)
    """Signal → threshold: `memory.available: 5%`."""
    eviction_soft: dict[str, str] = Field(default_factory=dict)
    eviction_soft_grace_period: dict[str, str] = Field(default_factory=dict)
    eviction_max_pod_grace_period: Annotated[int | None, Schema({"format": "int32"})] = None
    image_gc_high_threshold_percent: Annotated[
        int | None, Schema({"minimum": 0, "maximum": 100, "format": "int32"})
    ] = Field(default=None, alias="imageGCHighThresholdPercent")
    image_gc_low_threshold_percent: Annotated[
        int | None, Schema({"minimum": 0, "maximum": 100, "format": "int32"})
    ] = Field(default=None, alias="imageGCLowThresholdPercent")
    cpu_cfs_quota: bool | None = Field(default=None, alias="cpuCFSQuota")
