"""NodePool (karpenter.sh/v1): the template that NodeClaims are cut from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from pydantic import ConfigDict, Field, WithJsonSchema

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1 import schema
from apis.karpenter.v1.arithmetic import ordered, settled
from apis.karpenter.v1.nodeclaim import NodeClassRef, Requirements, Taints
from apis.model import (
    ApiModel,
    ApiObject,
    ConditionField,
    Quantity,
    Schema,
    condition_or_unknown,
    rules,
)
from kube.meta import Condition, Resource, with_condition


class PoolTemplateMetadata(ApiModel):
    """What the claims, and through them the nodes, are labelled with."""

    labels: Annotated[
        dict[str, Annotated[str, Schema({"maxLength": 63, "pattern": schema.LABEL_VALUE})]],
        Schema({"maxProperties": 100, **rules(*schema.POOL_LABELS)}),
    ] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class PoolTemplateSpec(ApiModel):
    """The spec of the claims. Group and kind of the node class stay what they were."""

    node_class_ref: Annotated[NodeClassRef, Schema(rules(*schema.SAME_NODE_CLASS_KIND))]
    requirements: Annotated[Requirements, Schema(schema.POOL_REQUIREMENTS)]
    taints: Taints = ()
    startup_taints: Taints = ()
    termination_grace_period: Annotated[str | None, Schema({"pattern": schema.DURATION})] = None
    expire_after: Annotated[str, Schema({"pattern": schema.DURATION_OR_NEVER}, default="720h")] = (
        "720h"
    )


class PoolTemplate(ApiModel):
    """What a claim of this pool looks like."""

    metadata: PoolTemplateMetadata = PoolTemplateMetadata()
    spec: PoolTemplateSpec


class Budget(ApiModel):
    """How many nodes may be disrupted at once, and when that holds."""

    nodes: Annotated[
        str, Schema({"pattern": "^((100|[0-9]{1,2})%|[0-9]+)$", "maxLength": 16}, default="10%")
    ]
    reasons: Annotated[
        tuple[Annotated[str, Schema({"enum": ["Underutilized", "Empty", "Drifted"]})], ...],
        Schema({"maxItems": 50}),
    ] = ()
    schedule: Annotated[
        str | None,
        Schema(
            {
                "pattern": (
                    r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))"
                    r"|((.+)\s(.+)\s(.+)\s(.+)\s(.+))$"
                )
            }
        ),
    ] = None
    duration: Annotated[
        str | None, Schema({"pattern": r"^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$"})
    ] = None


class Disruption(ApiModel):
    """When nodes are given up of our own accord."""

    consolidate_after: Annotated[
        str, Schema({"pattern": schema.DURATION_OR_NEVER}, default="0s")
    ] = "0s"
    consolidation_policy: Annotated[
        str,
        Schema(
            {"enum": ["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]},
            default="WhenEmptyOrUnderutilized",
        ),
    ] = "WhenEmptyOrUnderutilized"
    budgets: Annotated[
        tuple[Budget, ...],
        Schema({"maxItems": 50, **rules(schema.SCHEDULE_WITH_DURATION)}, [{"nodes": "10%"}]),
    ] = (Budget(nodes="10%"),)


class NodePoolSpec(ApiModel):
    """`replicas` makes the pool static: so many nodes, whether or not anything needs them."""

    model_config = ConfigDict(json_schema_extra=rules(*schema.POOL))

    template: PoolTemplate
    """What the pool's NodeClaims look like."""
    disruption: Annotated[Disruption, Schema({}, default={"consolidateAfter": "0s"})] = Disruption()
    """When nodes are given up of our own accord."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """What all nodes together may have."""
    weight: Annotated[int | None, Schema({"minimum": 1, "maximum": 100, "format": "int32"})] = None
    """Heavier pools are tried first."""
    replicas: Annotated[int | None, Schema({"minimum": 0, "format": "int64"})] = None
    """How many nodes, needed or not (alpha)."""


class NodePoolStatus(ApiModel):
    """What the pool has."""

    nodes: Annotated[int, Schema({"format": "int64"}, default=0)] = 0
    resources: dict[str, Quantity] = Field(default_factory=dict)
    node_class_observed_generation: Annotated[int | None, Schema({"format": "int64"})] = None
    conditions: Annotated[
        tuple[Annotated[ConditionField, WithJsonSchema(schema.CONDITION)], ...],
        Schema({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = ()


class NodePool(ApiObject):
    """Nodes of one sort."""

    api_version: str = "karpenter.sh/v1"
    kind: str = "NodePool"
    spec: NodePoolSpec
    status: NodePoolStatus = NodePoolStatus()

    def condition(self, kind: str) -> Condition:
        """The condition; Unknown, AwaitingReconciliation where it was never set."""
        return condition_or_unknown(self.status.conditions, kind)

    def is_true(self, kind: str) -> bool:
        return self.condition(kind).status == "True"

    @property
    def ready(self) -> bool:
        """Whether it may be provisioned from, as it stands now."""
        said = self.condition(c.READY)
        return said.status == "True" and said.observed_generation == self.metadata.generation

    def judged(self, *verdicts: Condition, now: datetime) -> NodePool:
        """The pool with what feeds Ready set, all at one go, and Ready computed anew."""
        kept = settled(
            self.metadata, self.status.conditions, verdicts, c.POOL_READY_DEPENDENTS, now
        )
        return self._with_conditions(kept)

    def told(self, said: Condition, *, now: datetime) -> NodePool:
        """The pool with a condition set that does not feed Ready."""
        dated = msgspec.structs.replace(said, observed_generation=self.metadata.generation)
        kept = with_condition(self.status.conditions, dated, now.replace(microsecond=0))
        return self._with_conditions(ordered(kept))

    def _with_conditions(self, kept: tuple[Condition, ...]) -> NodePool:
        status = self.status.model_copy(update={"conditions": kept})
        return self.model_copy(update={"status": status})


NODE_POOLS = Resource("karpenter.sh", "v1", "NodePool", "nodepools", NodePool, namespaced=False)
