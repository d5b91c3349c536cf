"""Everything that a round knows of the world, looked up once. Pure: a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.reports import Reports
from kube.objects import (
    ConfigMap,
    ControllerRevision,
    LimitRange,
    Node,
    Pod,
    ResourceQuota,
    Unstructured,
)
from workspace_controller.quota import Tenant
from workspace_controller.workspace.models import Answer


@dataclass(frozen=True, slots=True)
class Observed:
    """The objects that concern one Workspace, as the caches show them at `now`.

    `departed` holds the last state of claims that stood for an ordinal and are gone by now.
    `nodes` holds those that carry the Workspace's labels, those that its claims name and, where
    nodes are brought along, those that the user's labels select. `usual`: seconds by stage that
    such machines took here.

    `model` is what Hugging Face says of a preset that the catalogue does not have, None where
    nobody asked. `taken` names those of `nodes` that another Workspace's pods fill. `pool` is the
    NodePool of that name, whoever made it; `node_classes` are all of the kind in use, by name, or
    None where the cluster does not know the kind.
    """

    now: datetime
    claims: tuple[NodeClaim, ...] = ()
    departed: tuple[NodeClaim, ...] = ()
    nodes: tuple[Node, ...] = ()
    stateful_set: Unstructured | None = None
    services: Mapping[str, Unstructured] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    benchmarks: tuple[Pod, ...] = ()
    loaders: tuple[Pod, ...] = ()
    nonce: str = ""
    """Another one each round, that nobody can guess."""
    revisions: tuple[ControllerRevision, ...] = ()
    config: ConfigMap | None = None
    model: Answer | None = None
    pin: Answer | None = None
    """Where Hugging Face says that the preset's main branch is; None where nobody asked."""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    pool: Unstructured | None = None
    node_classes: Mapping[str, Unstructured] | None = None
    job: Unstructured | None = None
    """The tuning Job of that name."""
    reports: Mapping[str, Reports] = field(default_factory=dict)
    """By a pod's uid what its containers have said of themselves, in their logs."""

    namesake: str = ""
    """An elder object of another kind that has the Service of this name."""
    tenant: Tenant | None = None
    """Who has what of the namespace's GPU quota; None where nobody counts."""
    resource_quotas: tuple[ResourceQuota, ...] = ()
    limit_ranges: tuple[LimitRange, ...] = ()
    policy: Unstructured | None = None
    """The NetworkPolicy of its endpoint."""
    missing_keys: str = ""
    """Why the Secret with its API keys opens nothing."""

    @property
    def replicated(self) -> Unstructured | None:
        """What has a replica for each node: a tuning has none."""
        return self.stateful_set

    @property
    def workload(self) -> Unstructured | None:
        """What serves, or tunes."""
        return self.stateful_set or self.job

    def child(self, kind: str, name: str) -> Unstructured | None:
        """What is there of a child that users edit."""
        return self.services.get(name) if kind == "Service" else self.stateful_set
