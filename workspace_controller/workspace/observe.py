"""Look once: all that concerns a Workspace, from the caches alone. No request is waited for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.reports import Reports
from kube.meta import Key
from kube.objects import ConfigMap, ControllerRevision, Namespace, Node, Pod, Unstructured
from kube.store import Store
from workspace_controller.manifests.nodepool import pool_name
from workspace_controller.manifests.service import headless_name
from workspace_controller.nodes import attempts
from workspace_controller.workspace import candidates, owner
from workspace_controller.workspace.candidates import BY_NODE, BY_OWNER, BY_UNMANAGED
from workspace_controller.workspace.departed import Departed
from workspace_controller.workspace.experience import Experience
from workspace_controller.workspace.models import Answer
from workspace_controller.workspace.observed import Observed

__all__ = ["BY_CONFIG", "BY_NODE", "BY_OWNER", "BY_PREFERRED", "BY_UNMANAGED", "Caches", "observe"]

BY_CONFIG = "config"
BY_PREFERRED = "preferred"


class UnreadableClaimError(RuntimeError):
    """A claim of the Workspace exists and cannot be parsed. To take it for absent would make
    another one, so the round fails until somebody has mended either side."""


def nobody_asked(_: Workspace) -> None:
    return None


def nothing_read(_: Iterable[Pod]) -> Mapping[str, Reports]:
    return {}


@dataclass(frozen=True, slots=True)
class Caches:
    """The stores of the informers. Claims, nodes, pods and revisions have the index
    BY_OWNER; claims and pods also BY_NODE, nodes BY_UNMANAGED; Workspaces BY_CONFIG and
    BY_PREFERRED. `unreadable_claims` are keys that exist but did not parse. `pools` is None where
    nodes do not come by pools; `node_classes` gives None while their kind is not served. `models`
    answers for presets that the catalogue does not have, `commits` for those that it has and has
    not pinned."""

    workspaces: Store[Workspace]
    node_claims: Store[NodeClaim]
    nodes: Store[Node]
    stateful_sets: Store[Unstructured]
    services: Store[Unstructured]
    pods: Store[Pod]
    config_maps: Store[ConfigMap]
    revisions: Store[ControllerRevision] = field(
        default_factory=lambda: Store({BY_OWNER: owner.index(owner.of_revision)})
    )
    jobs: Store[Unstructured] = field(default_factory=Store)
    namespaces: Store[Namespace] = field(default_factory=Store)
    benchmarks: Store[Pod] = field(default_factory=Store)
    loaders: Store[Pod] = field(default_factory=Store)
    departed: Departed = field(default_factory=Departed)
    experience: Experience = field(default_factory=Experience)
    unreadable_claims: Callable[[], Mapping[Key, str]] = dict
    reports: Callable[[Iterable[Pod]], Mapping[str, Reports]] = nothing_read
    models: Callable[[Workspace], Answer | None] = nobody_asked
    commits: Callable[[Workspace], Answer | None] = nobody_asked
    pools: Store[Unstructured] | None = None
    node_classes: Callable[[], Mapping[str, Unstructured] | None] = lambda: None


def claim_node(claim: NodeClaim) -> tuple[str, ...]:
    return (claim.status.node_name,) if claim.status.node_name else ()


def named_config(workspace: Workspace) -> tuple[str, ...]:
    name = _config_name(workspace)
    return (str(Key(workspace.metadata.namespace, name)),) if name else ()


def _config_name(workspace: Workspace) -> str:
    work = workspace.inference or workspace.tuning
    return work.config if work is not None else ""


def observe(workspace: Workspace, caches: Caches, now: datetime, *, byo: bool) -> Observed:
    """Everything that the steps may ask for, as of one moment of the caches."""
    meta = workspace.metadata
    names_of_claims = _claim_names(workspace)
    _refuse_unreadable(names_of_claims, caches.unreadable_claims())
    claims = tuple(caches.node_claims.by_index(BY_OWNER, str(meta.key)))
    nodes = _nodes(workspace, claims, caches, byo=byo)
    names = (meta.name, headless_name(workspace))
    services = {name: caches.services.get(name, meta.namespace) for name in names}
    config = _config_name(workspace)
    namespace = caches.namespaces.get(meta.namespace)
    stateful_set = caches.stateful_sets.get(meta.name, meta.namespace)
    job = caches.jobs.get(meta.name, meta.namespace)
    pods = tuple(caches.pods.by_index(BY_OWNER, str(meta.key)))
    # Not before a node is on its way; nor of what runs, which keeps the weights that it has.
    unpinned = stateful_set is None and job is None and bool(claims or nodes)
    return Observed(
        now=now,
        claims=claims,
        departed=tuple(
            claim for name in names_of_claims if (claim := caches.departed.get(name)) is not None
        ),
        nodes=nodes,
        taken=candidates.taken(workspace, nodes, caches.pods, caches.workspaces),
        pool=caches.pools.get(pool_name(workspace)) if caches.pools is not None else None,
        node_classes=caches.node_classes(),
        stateful_set=stateful_set,
        job=job,
        services={name: found for name, found in services.items() if found is not None},
        pods=pods,
        reports=caches.reports(pods),
        revisions=tuple(caches.revisions.by_index(BY_OWNER, str(meta.key))),
        config=caches.config_maps.get(config, meta.namespace) if config else None,
        model=caches.models(workspace),
        pin=caches.commits(workspace) if unpinned else None,
        namespace_labels={} if namespace is None else namespace.metadata.labels,
        benchmarks=tuple(caches.benchmarks.by_index(BY_OWNER, str(meta.key))),
        loaders=tuple(caches.loaders.by_index(BY_OWNER, str(meta.key))),
        nonce=secrets.token_urlsafe(32),
        usual=caches.experience.of(workspace.resource.instance_type if workspace.resource else ""),
    )


def _nodes(
    workspace: Workspace, claims: Iterable[NodeClaim], caches: Caches, *, byo: bool
) -> tuple[Node, ...]:
    if byo:
        return candidates.brought(workspace, caches.nodes)
    pooled = caches.pools is not None
    return candidates.provisioned(workspace, claims, caches.nodes, pooled=pooled)


def _claim_names(workspace: Workspace) -> list[str]:
    """What the claims that stand for its ordinals are called, made or not."""
    remembered = attempts.read(workspace.metadata.annotations)
    return [
        attempts.claim_name(workspace.metadata.uid, ordinal, attempt.number)
        for ordinal, attempt in remembered.items()
    ]


def _refuse_unreadable(names: Iterable[str], unreadable: Mapping[Key, str]) -> None:
    for name in names:
        if (why := unreadable.get(Key("", name))) is not None:
            raise UnreadableClaimError(f"NodeClaim {name}: {why}")
