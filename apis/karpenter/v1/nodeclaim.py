"""NodeClaim (karpenter.sh/v1): the request for one node, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import ConfigDict, Field, WithJsonSchema

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1 import schema
from apis.model import (
    ApiModel,
    ApiObject,
    ConditionField,
    Quantity,
    Schema,
    condition_or_unknown,
    rules,
)
from kube.meta import Condition, Resource, Status, find_condition, with_condition


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
        now = now.replace(microsecond=0)
        new = Condition(
            type=kind,
            status=status,
            reason=reason or (kind if status == "True" else c.AWAITING_RECONCILIATION),
            message=message,
            observed_generation=self.metadata.generation,
        )
        kept = with_condition(self._first_touch(now), new, now)
        if self.deleting:
            kept = tuple(self._at_current_generation(each) for each in kept)
        if kind != c.READY:
            kept = with_condition(kept, self._ready(kept), now)
        return self._with_conditions(kept)

    def without_condition(self, kind: str) -> NodeClaim:
        """The claim with the condition gone; those that feed Ready stay, always."""
        if kind == c.READY or kind in c.READY_DEPENDENTS:
            raise ValueError(f"condition {kind} feeds Ready and cannot be cleared")
        return self._with_conditions(
            tuple(each for each in self.status.conditions if each.type != kind)
        )

    def _with_conditions(self, kept: tuple[Condition, ...]) -> NodeClaim:
        """Oldest change first, Ready last."""
        epoch = datetime.min.replace(tzinfo=None)
        ordered = sorted(
            kept,
            key=lambda each: (
                each.type == c.READY,
                (each.last_transition_time or epoch).replace(tzinfo=None),
            ),
        )
        status = self.status.model_copy(update={"conditions": tuple(ordered)})
        return self.model_copy(update={"status": status})

    def _first_touch(self, now: datetime) -> tuple[Condition, ...]:
        """Ready and what feeds it exist from the start, dated as the claim itself."""
        since = self.metadata.creation_timestamp or now
        missing = (
            kind
            for kind in (*c.READY_DEPENDENTS, c.READY)
            if find_condition(self.status.conditions, kind) is None
        )
        return (
            *self.status.conditions,
            *(
                msgspec.structs.replace(
                    condition_or_unknown((), kind),
                    last_transition_time=since,
                    observed_generation=self.metadata.generation,
                )
                for kind in missing
            ),
        )

    def _at_current_generation(self, condition: Condition) -> Condition:
        return msgspec.structs.replace(condition, observed_generation=self.metadata.generation)

    def _ready(self, kept: tuple[Condition, ...]) -> Condition:
        """True when all dependents are, at this generation; an older word counts as Unknown."""
        said: dict[str, Status] = {}
        for kind in c.READY_DEPENDENTS:
            condition = condition_or_unknown(kept, kind)
            current = condition.observed_generation == self.metadata.generation
            said[kind] = condition.status if current else "Unknown"
        lacking = ", ".join(f"{kind}={is_}" for kind, is_ in said.items() if is_ != "True")
        status: Status = "True"
        reason = c.READY
        if "False" in said.values():
            status, reason = "False", c.UNHEALTHY_DEPENDENTS
        elif lacking:
            status, reason = "Unknown", c.RECONCILING_DEPENDENTS
        return Condition(
            type=c.READY,
            status=status,
            reason=reason,
            message=lacking,
            observed_generation=self.metadata.generation,
        )


NODE_CLAIMS = Resource("karpenter.sh", "v1", "NodeClaim", "nodeclaims", NodeClaim, namespaced=False)
