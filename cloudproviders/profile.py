"""What the author of a NodeClaim must know of a cloud, as data. Pure, but for the parsing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from apis.karpenter.v1.labels import NODEPOOL_LABEL

KAITO_POOL = "kaito"
INSTANCE_TYPE_PLACEHOLDER = "{instance_type}"


class _Wire(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class NodeClass(_Wire):
    """The node class that claims refer to: `spec.nodeClassRef` of a NodeClaim."""

    group: Annotated[str, StringConstraints(min_length=1)]
    kind: Annotated[str, StringConstraints(min_length=1)]
    name: Annotated[str, StringConstraints(min_length=1)]


class ProfileRequirement(_Wire):
    """An entry of `spec.requirements`; `gpu_only` ones are left out for machines without GPUs."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    gpu_only: bool = False


class CloudProfile(_Wire):
    """How claims and pods must be shaped for one cloud; the same controller serves them all."""

    node_class_ref: NodeClass
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)
    requirements: tuple[ProfileRequirement, ...] = ()
    taints: tuple[Mapping[str, str], ...] = ()
    """core/v1 Taints of every claim for a GPU node."""
    tolerations: tuple[Mapping[str, str], ...] = ()
    """core/v1 Tolerations that pods on this cloud's nodes need beyond those for `taints`."""
    instance_type_prefixes: tuple[str, ...] = ()
    """Types of these families are admitted whether the catalogue has them or not, as upstream
    admits them; nothing can be estimated for those it has not."""
    requests_storage: bool = False
    """Claims ask for their disk as resource `storage`: gpu-provisioner reads it, while with
    other Karpenter providers no instance type would ever fit."""

    def in_kaitos_shape(self) -> CloudProfile:
        """As KAITO's Go controller writes claims for its provisioner: with a pool that does not
        exist, so that a Karpenter beside it keeps off, and with the disk as `storage`."""
        pool = ProfileRequirement(key=NODEPOOL_LABEL, operator="In", values=(KAITO_POOL,))
        return self.model_copy(
            update={
                "labels": {**self.labels, NODEPOOL_LABEL: KAITO_POOL},
                "requirements": (pool, *self.requirements),
                "requests_storage": True,
            }
        )

    def requirements_for(self, instance_type: str, *, gpus: int = 1) -> list[dict[str, Any]]:
        """The cloud's own requirements of a claim for that type, as they go over the wire."""
        return [
            {
                "key": requirement.key,
                "operator": requirement.operator,
                "values": [
                    value.replace(INSTANCE_TYPE_PLACEHOLDER, instance_type)
                    for value in requirement.values
                ],
            }
            for requirement in self.requirements
            if gpus or not requirement.gpu_only
        ]
