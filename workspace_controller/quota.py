"""The account of a namespace: its GPU quota, and who asks for and holds how much of it. Pure.

Read off the caches when a decision needs it, and not before: most rounds ask for no node. What
must not be exceeded rests on NodeClaims, of which `TenantStores.counting` takes those that the API
server itself has just shown (`quotagate`); what others still ask for may lag, since it only says
whose turn it is.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.labels import GPU_RESOURCE
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import Facts, quota
from apis.kaito.validation.quota import Account, Share
from apis.karpenter.v1.labels import INSTANCE_TYPE_LABEL
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube import quantity
from kube.meta import Condition, Manifest, find_condition
from kube.objects import ConfigMap, Namespace, Node, Unstructured
from kube.store import Store
from workspace_controller import marks
from workspace_controller.nodes import byo, shapes
from workspace_controller.ragengine import conditions as rag_conditions
from workspace_controller.workspace import stages

Owner = Workspace | RAGEngine

_SLICES = "nvidia.com/mig-"


@dataclass(frozen=True, slots=True)
class Shown:
    """What nodes hang on, as one look at the API server had it."""

    claims: tuple[NodeClaim | Unstructured, ...] = ()
    """Unstructured where one that is not understood must be counted, too."""
    pools: tuple[Unstructured, ...] = ()


@dataclass(frozen=True, slots=True)
class TenantStores:
    """Caches from which accounts are read. `workloads` hold the children of owners under their
    names, and are looked at where nodes are brought along."""

    facts: Facts
    default: int | None = None
    namespaces: Store[Namespace] = field(default_factory=Store)
    workspaces: Store[Workspace] = field(default_factory=Store)
    engines: Store[RAGEngine] = field(default_factory=Store)
    claims: tuple[Store[NodeClaim], ...] = ()
    pools: Store[Unstructured] | None = None
    nodes: Store[Node] = field(default_factory=Store)
    config_maps: Store[ConfigMap] = field(default_factory=Store)
    workloads: Mapping[str, tuple[Store[Unstructured], ...]] = field(default_factory=dict)
    """By the kind of owner."""

    def annotations(self, namespace: str) -> Mapping[str, str] | None:
        """None where the cache does not show the namespace."""
        found = self.namespaces.get(namespace)
        return None if found is None else found.metadata.annotations

    def account(
        self,
        namespace: str,
        *,
        annotations: Mapping[str, str] | None = None,
        shown: Shown | None = None,
    ) -> Account | None:
        """None where there is no quota. Raises quota.QuotaError where it is none."""
        known = self.annotations(namespace) if annotations is None else annotations
        limited = quota.limit(namespace, known or {}, self.default)
        if limited is None:
            return None
        held = self._held(namespace, shown or self._cached(namespace))
        owners: list[Owner] = [*self.workspaces.list(namespace), *self.engines.list(namespace)]
        shares = [self._share(each, held.pop(_name(each), 0)) for each in owners]
        left = (Share(kind, name, holds=n, ending=True) for (kind, name), n in held.items())
        return Account(namespace, limited[0], limited[1], (*shares, *left))

    def asks(self, owner: Owner, config: Mapping[str, str] | None = None) -> int | None:
        """The GPUs that it should have in the end; None where nobody can count them. `config`: the
        data of the ConfigMap that it names, where the caches may not have it yet."""
        if owner.resource is None:
            return 0
        each = self._gpus_of_a_node(owner)
        return None if each is None else each * self._nodes(owner, config)

    def gpus(self, claim: NodeClaim | Manifest) -> int:
        """Those of the machine that a claim, or a pool's template, asks for."""
        spec = claim.spec.model_dump(by_alias=True) if isinstance(claim, NodeClaim) else claim
        for each in spec.get("requirements") or ():
            values = each.get("values") or ()
            if each.get("key") == INSTANCE_TYPE_LABEL and values:
                found = self.facts.instance_type(values[0])
                return found.count if found is not None else 0
        return 0

    def _cached(self, namespace: str) -> Shown:
        claims = (each for store in self.claims for each in store.list())
        pools = self.pools.list() if self.pools is not None else ()
        return Shown(
            tuple(each for each in claims if _of_namespace(each, namespace)),
            tuple(each for each in pools if _of_namespace(each, namespace)),
        )

    def _held(self, namespace: str, shown: Shown) -> dict[tuple[str, str], int]:
        """By whose it is: GPUs of claims, and of those that a pool has yet to make."""
        claims = {each.metadata.name: each for each in shown.claims}.values()
        found: Counter[tuple[str, str]] = Counter()
        made: Counter[tuple[str, str]] = Counter()
        for each in claims:
            whose = _whose(each)
            found[whose] += self.gpus(each if isinstance(each, NodeClaim) else each.spec)
            made[whose] += any(ref.kind == "NodePool" for ref in each.metadata.owner_references)
        for pool in shown.pools:
            whose = _whose(pool)
            due = int(pool.spec.get("replicas") or 0) - made[whose]
            going = pool.metadata.deletion_timestamp is not None
            found[whose] += 0 if going else max(0, due) * self.gpus(template_of(pool.spec))
        if self.facts.byo:
            for key, gpus in self._at_work(namespace):
                found[key] += gpus
        return dict(found)

    def _at_work(self, namespace: str) -> Iterable[tuple[tuple[str, str], int]]:
        """Where nodes are brought along: what the pods of each workload ask for."""
        for kind, kinds in self.workloads.items():
            found = (each for store in kinds for each in store.list(namespace))
            for each in (workload for workload in found if not _is_over(workload)):
                replicas = each.spec.get("replicas", each.spec.get("parallelism", 1))
                yield (kind, each.metadata.name), int(replicas or 0) * _asked_by(each.spec)

    def _share(self, owner: Owner, holds: int) -> Share:
        asks = self.asks(owner) or 0
        if owner.deleting and not self.facts.byo:
            asks = 0  # its nodes are its claims, and as long as these are there they count
        elif gave_back(owner, byo=self.facts.byo):
            asks = 0
        return Share(
            kind=owner.kind,
            name=owner.metadata.name,
            asks=asks,
            holds=holds,
            born=owner.metadata.creation_timestamp,
            ending=owner.deleting,
            waits=not owner.deleting and is_on_its_way(owner),
        )

    def _nodes(self, owner: Owner, config: Mapping[str, str] | None) -> int:
        if isinstance(owner, RAGEngine):
            return 1
        named = owner.inference.config if owner.inference else ""
        if config is None and named:
            found = self.config_maps.get(named, owner.metadata.namespace)
            config = None if found is None else found.data
        laid_out = self.facts.layout(owner, config) if not owner.tuning else None
        planned = laid_out.nodes if laid_out else owner.status.target_node_count
        count = owner.resource.count if owner.resource else 1
        return planned or max(1, count)

    def _gpus_of_a_node(self, owner: Owner) -> int | None:
        asked = owner.resource
        if asked is None:
            return 0
        if asked.partition is not None and asked.partition.mode == "mig":
            return 1
        if asked.partition is not None and asked.partition.count:
            return asked.partition.count
        if not self.facts.byo:
            found = self.facts.instance_type(asked.instance_type)
            return None if found is None else found.count
        usable = byo.selected(owner, self.nodes.list())
        return shapes.of_node(usable[0], {}).gpu.count if usable else 0


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a round may ask about its namespace; nothing is read before it does."""

    stores: TenantStores
    owner: Owner
    shown: Shown | None = None

    def account(self) -> Account | None:
        return self.stores.account(self.owner.metadata.namespace, shown=self.shown)

    def with_shown(self, shown: Shown) -> Tenant:
        return dataclasses.replace(self, shown=shown)


def template_of(pool: Manifest) -> Manifest:
    """Of the spec of a NodePool what its claims will say."""
    found: Manifest = (pool.get("template") or {}).get("spec") or {}
    return found


def _asked_by(workload: Manifest) -> int:
    """GPUs, or slices of them, that one pod of it asks for."""
    spec = ((workload.get("template") or {}).get("spec")) or {}
    limits = (
        (each.get("resources") or {}).get("limits") or {} for each in spec.get("containers") or ()
    )
    return sum(
        int(quantity.parse(amount))
        for each in limits
        for name, amount in each.items()
        if name == GPU_RESOURCE or name.startswith(_SLICES)
    )


def _whose(found: NodeClaim | Unstructured) -> tuple[str, str]:
    for kind in marks.ALL:
        for key in kind.of_cluster_scoped(found):
            return kind.kind, key.name
    return "", found.metadata.name


def _of_namespace(found: NodeClaim | Unstructured, namespace: str) -> bool:
    return any(
        key.namespace == namespace for each in marks.ALL for key in each.of_cluster_scoped(found)
    )


def _name(owner: Owner) -> tuple[str, str]:
    return owner.kind, owner.metadata.name


def _is_over(workload: Unstructured) -> bool:
    """Whether it is a Job that has come to its end: it stays, and its pods use nothing more."""
    told = workload.status.get("conditions") or ()
    return any(
        each.get("type") in ("Complete", "Failed") and each.get("status") == "True" for each in told
    )


def gave_back(owner: Owner, *, byo: bool) -> bool:
    """A tuning that is over has no nodes, and asks for none; the user's own are free by then."""
    if owner.condition(c.RESOURCE_READY).reason == c.REASON_NODES_GIVEN_BACK:
        return True
    tunes = isinstance(owner, Workspace) and owner.tuning is not None
    return byo and tunes and owner.status.state in (c.STATE_SUCCEEDED, c.STATE_FAILED)


def is_on_its_way(owner: Owner) -> bool:
    """Whether nodes are still to come for it: not where it has them, nor where only its user can
    help it on, nor where the pods would be refused: it takes no turn that it cannot use."""
    told = find_condition(owner.status.conditions, c.RESOURCE_READY)
    if told is not None and (told.status == "True" or _is_refused_pods(told)):
        return False
    if isinstance(owner, RAGEngine):
        summed = owner.condition(rag_conditions.RAGENGINE_SUCCEEDED)
        return summed.reason != rag_conditions.REASON_FAILED
    now = owner.status.progress
    return now is None or now.stage != stages.VALIDATING


def _is_refused_pods(told: Condition) -> bool:
    """A RAGEngine's has the reason before the message."""
    reason = c.REASON_RESOURCE_QUOTA_EXCEEDED
    return told.reason == reason or told.message.startswith(f"{reason}:")
