"""Look once: all that concerns a Workspace, from the caches alone. No request is made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Key, ObjectMeta
from kube.objects import ConfigMap, Node, Pod, Unstructured
from kube.store import Object, Store
from workspace_controller.manifests.service import headless_name
from workspace_controller.nodes import attempts
from workspace_controller.nodes.provisioner import user_labels
from workspace_controller.workspace.departed import Departed
from workspace_controller.workspace.observed import Observed

BY_OWNER = "workspace"
BY_NODE = "node"
BY_CONFIG = "config"

Index = Callable[[Object], Iterable[str]]


class UnreadableClaimError(RuntimeError):
    """A claim of the Workspace exists and cannot be parsed. To take it for absent would make
    another one, so the round fails until somebody has mended either side."""


@dataclass(frozen=True, slots=True)
class Caches:
    """The stores of the informers. Claims, nodes and pods have the index BY_OWNER; claims also
    BY_NODE; Workspaces BY_CONFIG. `unreadable_claims` are keys that exist but did not parse."""

    workspaces: Store[Workspace]
    node_claims: Store[NodeClaim]
    nodes: Store[Node]
    stateful_sets: Store[Unstructured]
    services: Store[Unstructured]
    pods: Store[Pod]
    config_maps: Store[ConfigMap]
    departed: Departed = field(default_factory=Departed)
    unreadable_claims: Callable[[], Mapping[Key, str]] = dict


def owner(metadata: ObjectMeta) -> Key | None:
    """The Workspace that the labels of a claim or a node name; None where they name none."""
    name = metadata.labels.get(labels.WORKSPACE_LABEL, "")
    namespace = metadata.labels.get(labels.WORKSPACE_NAMESPACE_LABEL, "")
    return Key(namespace, name) if name and namespace else None


def by_owner(found: Object) -> tuple[str, ...]:
    key = owner(found.metadata)
    return (str(key),) if key else ()


def pod_owner(pod: Object) -> tuple[str, ...]:
    name = pod.metadata.labels.get(labels.WORKSPACE_LABEL, "")
    return (str(Key(pod.metadata.namespace, name)),) if name else ()


def claim_node(claim: NodeClaim) -> tuple[str, ...]:
    return (claim.status.node_name,) if claim.status.node_name else ()


def named_config(workspace: Workspace) -> tuple[str, ...]:
    name = workspace.inference.config if workspace.inference else ""
    return (str(Key(workspace.metadata.namespace, name)),) if name else ()


def observe(workspace: Workspace, caches: Caches, now: datetime, *, byo: bool) -> Observed:
    """Everything that the steps may ask for, as of one moment of the caches."""
    meta = workspace.metadata
    names_of_claims = _claim_names(workspace)
    _refuse_unreadable(names_of_claims, caches.unreadable_claims())
    claims = tuple(caches.node_claims.by_index(BY_OWNER, str(meta.key)))
    names = (meta.name, headless_name(workspace))
    services = {name: caches.services.get(name, meta.namespace) for name in names}
    config = workspace.inference.config if workspace.inference else ""
    return Observed(
        now=now,
        claims=claims,
        departed=tuple(
            claim for name in names_of_claims if (claim := caches.departed.get(name)) is not None
        ),
        nodes=_nodes(workspace, claims, caches, byo=byo),
        stateful_set=caches.stateful_sets.get(meta.name, meta.namespace),
        services={name: found for name, found in services.items() if found is not None},
        pods=tuple(caches.pods.by_index(BY_OWNER, str(meta.key))),
        config=caches.config_maps.get(config, meta.namespace) if config else None,
    )


def _nodes(
    workspace: Workspace, claims: Iterable[NodeClaim], caches: Caches, *, byo: bool
) -> tuple[Node, ...]:
    if byo:
        wanted = user_labels(workspace).items()
        return tuple(node for node in caches.nodes.list() if wanted <= node.metadata.labels.items())
    found = {
        node.metadata.name: node
        for node in caches.nodes.by_index(BY_OWNER, str(workspace.metadata.key))
    }
    for claim in claims:
        node = caches.nodes.get(claim.status.node_name)
        if node is not None:
            found[node.metadata.name] = node
    return tuple(found[name] for name in sorted(found))


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
