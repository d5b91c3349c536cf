"""Drifted: whether a machine is still what its pool and its node class ask for.

This only says so. Claims of static pools are replaced one for one (`nodepool.static`); a claim
that stands on its own is never deleted for it, since nobody here would make another in its place:
whoever made it reads the condition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.labels import (
    CAPACITY_TYPE_LABEL,
    INSTANCE_TYPE_LABEL,
    NODEPOOL_HASH_ANNOTATION,
    ZONE_LABEL,
)
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from apis.karpenter.v1.requirements import Requirements
from cloudproviders.instancetype import InstanceType
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import CloudProvider, GroupKind
from gpu_provisioner import events
from gpu_provisioner.nodeclaim.step import Reason
from gpu_provisioner.nodeclass.hash import hash_annotation
from gpu_provisioner.nodepool import template
from gpu_provisioner.shared import Shared, Stores
from gpu_provisioner.stamp import Stamp
from kube.controller import Result

INSTANCE_TYPE_SECONDS = 30 * 60.0
"""For how long a look at the instance types holds; Karpenter's."""


class Drift:
    """Asks what costs nothing first, the cloud last, and of every claim each `timings.drift`."""

    def __init__(self, shared: Shared, stores: Stores, cloud: CloudProvider) -> None:
        self._claims = shared.claims
        self._recorder = shared.recorder
        self._stores = stores
        self._cloud = cloud
        self._timings = shared.timings
        self._clock = shared.clock
        self._known: dict[tuple[str, str], tuple[float, Reason | None]] = {}
        """What the cloud answered, by question and uid, and until when it holds: each change of a
        pool brings all its claims here."""

    async def reconcile(self, claim: NodeClaim, /) -> Result:
        if claim.deleting:
            return Result()
        launched = claim.is_true(c.LAUNCHED)
        why = await self._why(claim) if launched else None
        await self._claims.save(claim, self._told(claim, why))
        if why is not None and not claim.is_true(c.DRIFTED):
            self._recorder.event(
                NODE_CLAIMS,
                claim.metadata,
                events.NORMAL,
                events.DRIFTED,
                f"{why.reason}: {why.message}",
            )
        return Result(self._timings.drift if launched else None)

    def _told(self, claim: NodeClaim, why: Reason | None) -> NodeClaim:
        if why is not None:
            return claim.with_condition(
                c.DRIFTED, "True", why.reason, why.message, now=self._clock.now()
            )
        stands = any(each.type == c.DRIFTED for each in claim.status.conditions)
        return claim.without_condition(c.DRIFTED) if stands else claim

    async def _why(self, claim: NodeClaim) -> Reason | None:
        pool, node_class = self._pool(claim), self._node_class(claim)
        return (
            (pool and from_template(claim, pool))
            or (pool and from_requirements(claim, pool))
            or await self._from_types(claim, pool)
            or (node_class and from_class(claim, node_class))
            or await self._from_cloud(claim)
        )

    async def _from_types(self, claim: NodeClaim, pool: NodePool | None) -> Reason | None:
        """Only in a pool, and not in the first hour: catalogues come and go."""
        created = claim.metadata.creation_timestamp
        if pool is None or created is None:
            return None
        if (self._clock.now() - created).total_seconds() < self._timings.instance_type_drift_age:
            return None

        async def ask() -> Reason | None:
            return from_types(claim, await self._cloud.instance_types(pool))

        return await self._asked("types", claim, INSTANCE_TYPE_SECONDS, ask)

    async def _from_cloud(self, claim: NodeClaim) -> Reason | None:
        async def ask() -> Reason | None:
            reason = await self._cloud.is_drifted(claim)
            said = "the machine is no longer what the cloud would make"
            return Reason(reason, said) if reason else None

        return await self._asked("cloud", claim, self._timings.drift, ask)

    async def _asked(
        self,
        question: str,
        claim: NodeClaim,
        seconds: float,
        ask: Callable[[], Awaitable[Reason | None]],
    ) -> Reason | None:
        now = self._clock.monotonic()
        self._known = {each: known for each, known in self._known.items() if known[0] > now}
        key = (question, claim.metadata.uid)
        if key not in self._known:
            self._known[key] = (now + seconds, await ask())
        return self._known[key][1]

    def _pool(self, claim: NodeClaim) -> NodePool | None:
        """The pool that the claim was cut from; KAITO's label `kaito` names none."""
        for owner in claim.metadata.owner_references:
            pool = self._stores.pools.get(owner.name)
            if pool is not None and template.owned(pool, claim):
                return pool
        return None

    def _node_class(self, claim: NodeClaim) -> NodeClass | None:
        ref = claim.spec.node_class_ref
        known = self._stores.node_classes.get(GroupKind(ref.group, ref.kind))
        return known.get(ref.name) if known is not None else None


def from_template(claim: NodeClaim, pool: NodePool) -> Reason | None:
    """The template has changed: labels, annotations, taints, class, lifetimes."""
    now = Stamp.read(pool.metadata, NODEPOOL_HASH_ANNOTATION)
    if now is None or not now.contradicts(Stamp.read(claim.metadata, NODEPOOL_HASH_ANNOTATION)):
        return None
    return Reason(
        c.NODEPOOL_DRIFTED, f"the template of NodePool {pool.metadata.name} has changed since"
    )


def from_requirements(claim: NodeClaim, pool: NodePool) -> Reason | None:
    """The pool would no longer take such a node."""
    is_ = Requirements.of(claim.spec.requirements).union(
        Requirements.of_labels(claim.metadata.labels)
    )
    wrong = is_.incompatibility(Requirements.of(pool.spec.template.spec.requirements))
    return Reason(c.REQUIREMENTS_DRIFTED, wrong) if wrong else None


def from_types(claim: NodeClaim, types: Iterable[InstanceType]) -> Reason | None:
    """The cloud sells no such machine any more. One that tells no types says nothing."""
    by_name = {each.name: each for each in types}
    if not by_name:
        return None
    labels = claim.metadata.labels
    name, zone = labels.get(INSTANCE_TYPE_LABEL, ""), labels.get(ZONE_LABEL, "")
    capacity = labels.get(CAPACITY_TYPE_LABEL, "")
    found = by_name.get(name)
    if found is None:
        said = f"instance type {name} is unknown" if name else "the instance type is not known"
        return Reason(c.INSTANCE_TYPE_NOT_FOUND, said)
    if any(
        offering.zone in ("", zone) and capacity in ("", offering.capacity_type)
        for offering in found.offerings
    ):
        return None
    return Reason(c.INSTANCE_TYPE_NOT_FOUND, f"{name} is not sold as {capacity} in {zone}")


def from_class(claim: NodeClaim, node_class: NodeClass) -> Reason | None:
    """The class has changed: fields that a machine cannot take on later."""
    ref = claim.spec.node_class_ref
    name = hash_annotation(GroupKind(ref.group, ref.kind))
    now = Stamp.read(node_class.metadata, name)
    if now is None or not now.contradicts(Stamp.read(claim.metadata, name)):
        return None
    return Reason(c.NODE_CLASS_DRIFTED, f"{ref.kind} {ref.name} has changed since")
