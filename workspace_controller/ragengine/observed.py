"""Everything that a round knows of the world, looked up once. Pure: a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.objects import (
    ConfigMap,
    LimitRange,
    Node,
    PersistentVolumeClaim,
    Pod,
    ResourceQuota,
    Unstructured,
)
from workspace_controller.quota import Tenant


@dataclass(frozen=True, slots=True)
class Observed:
    """The objects that concern one RAGEngine, as the caches show them at `now`; of its nodes as
    `nodes.asking.NodesSeen` has them."""

    now: datetime
    claims: tuple[NodeClaim, ...] = ()
    departed: tuple[NodeClaim, ...] = ()
    nodes: tuple[Node, ...] = ()
    taken: frozenset[str] = frozenset()
    pool: Unstructured | None = None
    node_classes: Mapping[str, Unstructured] | None = None
    deployment: Unstructured | None = None
    service: Unstructured | None = None
    pods: tuple[Pod, ...] = ()
    volume_claim: PersistentVolumeClaim | None = None
    """The claim that it names."""
    config: ConfigMap | None = None
    """The guardrails policy that it names, else the release's."""
    settings: ConfigMap | None = None
    """What it sets of its service."""
    policy: ConfigMap | None = None
    """What was made of the release's policy for it."""
    secrets: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """Of those that were asked for: the keys, or None where there is no such Secret."""
    foreign: str = ""
    """What has its name without being its own, as `Deployment "docs"`."""
    namesake: str = ""
    """The Workspace that has the Service of this name, in words."""
    tenant: Tenant | None = None
    """Who has what of the namespace's GPU quota; None where nobody counts."""
    resource_quotas: tuple[ResourceQuota, ...] = ()
    limit_ranges: tuple[LimitRange, ...] = ()
    network_policy: Unstructured | None = None
    """Of its endpoint."""

    @property
    def chosen(self) -> Mapping[str, str]:
        """The settings' data."""
        return self.settings.data if self.settings is not None else {}

    @property
    def replicated(self) -> Unstructured | None:
        return self.deployment

    @property
    def workload(self) -> Unstructured | None:
        return self.deployment

    def with_child(self, found: Unstructured, kind: str) -> Observed:
        """With a child that the caches do not show."""
        if kind == "Service":
            return dataclasses.replace(self, service=found)
        return dataclasses.replace(self, deployment=found)

    def child(self, kind: str, name: str) -> Unstructured | None:
        """What is there of a child that users edit; all of them have the engine's name."""
        return self.service if kind == "Service" else self.deployment
