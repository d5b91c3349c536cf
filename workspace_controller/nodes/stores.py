"""Look once: what concerns an owner's nodes, from the caches alone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Key
from kube.objects import Node, Unstructured
from kube.store import Store
from workspace_controller.manifests.nodepool import pool_name
from workspace_controller.nodes import attempts, candidates
from workspace_controller.nodes.asking import NodeOwner
from workspace_controller.nodes.candidates import Occupants
from workspace_controller.nodes.departed import Departed


class UnreadableClaimError(RuntimeError):
    """A claim of the owner exists and cannot be parsed. To take it for absent would make another
    one, so the round fails until somebody has mended either side."""


@dataclass(frozen=True, slots=True)
class NodeStores:
    """Claims and nodes have the index of their kind of owner (`candidates.index_of`), claims also
    BY_NODE, nodes BY_UNMANAGED. `unreadable_claims` are keys that exist but did not parse. `pools`
    is None where nodes do not come by pools; `node_classes` gives None while their kind is not
    served. `occupants` are all who may fill a node."""

    node_claims: Store[NodeClaim]
    nodes: Store[Node]
    occupants: tuple[Occupants, ...] = ()
    departed: Departed = field(default_factory=Departed)
    unreadable_claims: Callable[[], Mapping[Key, str]] = dict
    pools: Store[Unstructured] | None = None
    node_classes: Callable[[], Mapping[str, Unstructured] | None] = lambda: None


@dataclass(frozen=True, slots=True)
class NodesFound:
    """As `asking.NodesSeen` has them."""

    claims: tuple[NodeClaim, ...]
    departed: tuple[NodeClaim, ...]
    nodes: tuple[Node, ...]
    taken: frozenset[str]
    pool: Unstructured | None
    node_classes: Mapping[str, Unstructured] | None


def look(owner: NodeOwner, stores: NodeStores, *, byo: bool) -> NodesFound:
    """All that is there of the owner's nodes; raises UnreadableClaimError."""
    names = _claim_names(owner)
    _refuse_unreadable(names, stores.unreadable_claims())
    claims = tuple(stores.node_claims.by_index(candidates.index_of(owner), str(owner.metadata.key)))
    nodes = _nodes(owner, claims, stores, byo=byo)
    departed = (stores.departed.get(name) for name in names)
    return NodesFound(
        claims=claims,
        departed=tuple(claim for claim in departed if claim is not None),
        nodes=nodes,
        taken=candidates.taken(owner, nodes, stores.occupants),
        pool=stores.pools.get(pool_name(owner)) if stores.pools is not None else None,
        node_classes=stores.node_classes(),
    )


def _nodes(
    owner: NodeOwner, claims: Iterable[NodeClaim], stores: NodeStores, *, byo: bool
) -> tuple[Node, ...]:
    if byo:
        return candidates.brought(owner, stores.nodes)
    pooled = stores.pools is not None
    return candidates.provisioned(owner, claims, stores.nodes, pooled=pooled)


def _claim_names(owner: NodeOwner) -> list[str]:
    """What the claims that stand for its ordinals are called, made or not."""
    remembered = attempts.read(owner.metadata.annotations)
    return [
        attempts.claim_name(owner.metadata.uid, ordinal, attempt.number)
        for ordinal, attempt in remembered.items()
    ]


def _refuse_unreadable(names: Iterable[str], unreadable: Mapping[Key, str]) -> None:
    for name in names:
        if (why := unreadable.get(Key("", name))) is not None:
            raise UnreadableClaimError(f"NodeClaim {name}: {why}")
