"""NodeClaim (karpenter.sh/v1): the request for one node, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1 import schema
from apis.karpenter.v1.arithmetic import ordered, settled
from apis.model import (
    ApiModel,
    ApiObject,
    ConditionField,
    Quantity,
    Schema,
    condition_or_unknown,
    rules,
)
from kube.meta import Condition, Resource, Status


class Taint(ApiModel):
    """core/v1 Taint."""

    key: Annotated[str, Schema({"minLength": 1, "pattern": schema.QUALIFIED_NAME})]
    effect: Annotated[str, Schema({"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]})]
    value: Annotated[str, Schema({"pattern": schema.LABEL_VALUE})] = ""
    time_added: datetime | None = None

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}"

    def matches(self, other: Any) -> bool:
        """The same taint as Kubernetes sees it: key and effect; the value may differ."""
        return bool(self.key == other.key and self.effect == other.effect)


class NodeClassRef(ApiModel):
    """Which object holds the cloud's own configuration; it says whose claim this is."""

    group: Annotated[
        str, Schema({"pattern": "^[^/]*$", **rules(("self != ''", "group may not be empty"))})
    ]
    kind: Annotated[str, Schema(rules(("self != ''", "kind may not be empty")))]
    name: Annotated[str, Schema(rules(("self != ''", "name may not be empty")))]


class NodeSelectorRequirement(ApiModel):
    """A node selector requirement that may also ask for variety (`minValues`)."""

    key: Annotated[str, Schema(schema.REQUIREMENT_KEY)]
    operator: Annotated[str, Schema({"enum": list(schema.OPERATORS)})]
    values: Annotated[
        tuple[Annotated[str, Schema({"maxLength": 63, "pattern": schema.LABEL_VALUE})], ...],
        Schema({"x-kubernetes-list-type": "atomic"}),
    ] = ()
    min_values: Annotated[int | None, Schema({"minimum": 1, "maximum": 50})] = None
    """How many values must remain to choose from (alpha)."""


class ResourceRequirements(ApiModel):
    """What a node must have to be worth launching."""

    requests: dict[str, Quantity] = Field(default_factory=dict)


Requirements = Annotated[tuple[NodeSelectorRequirement, ...], Schema(schema.REQUIREMENTS)]
Taints = Annotated[tuple[Taint, ...], Schema({"x-kubernetes-list-type": "atomic"})]


class NodeClaimSpec(ApiModel):
    """Immutable. `expireAfter` left out becomes 30 days at the API server: write `Never`."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self == oldSelf", "spec is immutable")),
    )

    node_class_ref: NodeClassRef
    """The object with the cloud's own configuration."""
    requirements: Requirements
    """What the node must be like: all of them hold."""
    resources: ResourceRequirements = ResourceRequirements()
    """What the node must have."""
    taints: Taints = ()
    """The node's taints."""
    startup_taints: Taints = ()
    """Taints that somebody takes off once the node is set up."""
    termination_grace_period: Annotated[str | None, Schema({"pattern": schema.DURATION})] = None
    """How long a drain may last; then pods are deleted. Unset: forever."""
    expire_after: Annotated[str, Schema({"pattern": schema.DURATION_OR_NEVER}, default="720h")] = (
        "720h"
    )
    """The age at which the node is replaced, or Never."""


class NodeClaimStatus(ApiModel):
    """What became of the request."""

    node_name: str = ""
    """The Node, once it has registered."""
    provider_id: str = Field(default="", alias="providerID")
    """The cloud's name of the machine; the Node carries the same."""
    image_id: str = Field(default="", alias="imageID")
    """The image that the machine was started from."""
    capacity: dict[str, Quantity] = Field(default_factory=dict)
    """What the machine is expected to have."""
    allocatable: dict[str, Quantity] = Field(default_factory=dict)
    """What of it pods are expected to get."""
    conditions: Annotated[
        tuple[Annotated[ConditionField, WithJsonSchema(schema.CONDITION)], ...],
        Schema({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = ()
    last_pod_event_time: datetime | None = None
    """When a pod last came or went."""


class NodeClaim(ApiObject):
    """One node wanted."""

    api_version: str = "karpenter.sh/v1"
    kind: str = "NodeClaim"
    spec: NodeClaimSpec
    status: NodeClaimStatus = NodeClaimStatus()

    def condition(self, kind: str) -> Condition:
        """The condition; Unknown, AwaitingReconciliation where it was never set."""
        return condition_or_unknown(self.status.conditions, kind)

    def is_true(self, kind: str) -> bool:
        return self.condition(kind).status == "True"

    def with_condition(
        self, kind: str, status: Status, reason: str = "", message: str = "", *, now: datetime
    ) -> NodeClaim:
        """The claim with the condition set and Ready computed anew (operatorpkg's arithmetic).

        A reason left out is the type's own name where the status is True.
        """
        new = Condition(type=kind, status=status, reason=reason, message=message)
        return self._with_conditions(
            settled(
                self.metadata,
                self.status.conditions,
                [new],
                () if kind == c.READY else c.READY_DEPENDENTS,
                now,
            )
        )

    def without_condition(self, kind: str) -> NodeClaim:
        """The claim with the condition gone; those that feed Ready stay, always."""
        if kind == c.READY or kind in c.READY_DEPENDENTS:
            raise ValueError(f"condition {kind} feeds Ready and cannot be cleared")
        return self._with_conditions(
            tuple(each for each in self.status.conditions if each.type != kind)
        )

    def _with_conditions(self, kept: tuple[Condition, ...]) -> NodeClaim:
        status = self.status.model_copy(update={"conditions": ordered(kept)})
        return self.model_copy(update={"status": status})


NODE_CLAIMS = Resource("karpenter.sh", "v1", "NodeClaim", "nodeclaims", NodeClaim, namespaced=False)
