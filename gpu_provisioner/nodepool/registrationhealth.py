"""NodeRegistrationHealthy of a pool: whether its latest machines have joined the cluster.

The outcomes are kept in the process, as Karpenter keeps them: the condition itself is all that a
restart needs to know. Claims only drop their outcome here; nothing of theirs waits for the pool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from apis.karpenter.v1.conditions import NODE_REGISTRATION_HEALTHY as HEALTHY
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind
from gpu_provisioner.nodeclaim.step import Reason
from gpu_provisioner.nodepool.pools import Pools
from kube.clock import Clock
from kube.controller import Result
from kube.meta import Condition, Key, find_condition, with_condition
from kube.store import Store

REMEMBERED = 4
"""Outcomes of a pool."""
TOO_MANY = 2
"""Failures among them make the pool unhealthy."""


class _Outcome(NamedTuple):
    """Of one claim. A round that is repeated tells it again, which must not count twice."""

    claim_uid: str
    failure: Reason | None


class RegistrationHealth:
    """What became of the last claims of each pool, and the pools' condition by it."""

    def __init__(
        self,
        writes: Pools,
        pools: Store[NodePool],
        node_classes: Mapping[GroupKind, Store[NodeClass]],
        clock: Clock,
    ) -> None:
        self._writes = writes
        self._pools = pools
        self._node_classes = node_classes
        self._clock = clock
        self._outcomes: dict[str, deque[_Outcome]] = {}
        self._wake: Callable[[Key], None] = lambda key: None

    def wakes(self, wake: Callable[[Key], None]) -> None:
        """Tell `wake` the key of each pool that there is something new of."""
        self._wake = wake

    def record(self, claim: NodeClaim, failure: Reason | None = None) -> None:
        """The claim has registered, or failed to. Claims without a living pool count nowhere."""
        if (pool := self._pool_of(claim)) is None:
            return
        ring = self._ring(pool)
        told = _Outcome(claim.metadata.uid, failure)
        if told not in ring:
            ring.append(told)
            self._wake(pool.metadata.key)

    async def reconcile(self, pool: NodePool, /) -> Result:
        if pool.deleting:
            return Result()
        generation = self._class_generation(pool)
        conditions = pool.status.conditions
        if self._is_another(pool, generation):
            self._outcomes.pop(pool.metadata.uid, None)
            conditions = self._with(pool, Condition(type=HEALTHY, status="Unknown"))
        elif (verdict := self._verdict(pool)) is not None:
            conditions = self._with(pool, verdict)
        told: dict[str, object] = {"conditions": conditions}
        if generation is not None:
            told["node_class_observed_generation"] = generation
        status = pool.status.model_copy(update=told)
        await self._writes.save(pool, pool.model_copy(update={"status": status}))
        return Result()

    def _pool_of(self, claim: NodeClaim) -> NodePool | None:
        for owner in claim.metadata.owner_references:
            if (owner.kind, owner.api_version) != (NODE_POOLS.kind, NODE_POOLS.api_version):
                continue
            pool = self._pools.get(owner.name)
            if pool is not None and pool.metadata.uid == owner.uid and not pool.deleting:
                return pool
        return None

    def _ring(self, pool: NodePool) -> deque[_Outcome]:
        """Begun, after a restart, as the condition stands: what it says was learnt by outcomes."""
        alive = {each.metadata.uid for each in self._pools.list()}
        self._outcomes = {uid: ring for uid, ring in self._outcomes.items() if uid in alive}
        ring = self._outcomes.get(pool.metadata.uid)
        if ring is None:
            said = find_condition(pool.status.conditions, HEALTHY)
            ring = deque(maxlen=REMEMBERED)
            if said is not None and said.status == "False":
                failure = Reason(said.reason, said.message)
                ring.extend(_Outcome(f"before-{n}", failure) for n in range(TOO_MANY))
            elif said is not None and said.status == "True":
                ring.append(_Outcome("before", None))
            self._outcomes[pool.metadata.uid] = ring
        return ring

    def _verdict(self, pool: NodePool) -> Condition | None:
        """None where what there is does not change what is said: a first failure, no outcome."""
        ring = self._ring(pool)
        failures = [each.failure for each in ring if each.failure is not None]
        if len(failures) >= TOO_MANY:
            last = failures[-1]
            return Condition(type=HEALTHY, status="False", reason=last.reason, message=last.message)
        if ring and ring[-1].failure is None:
            return Condition(type=HEALTHY, status="True", reason=HEALTHY)
        return None

    def _with(self, pool: NodePool, condition: Condition) -> tuple[Condition, ...]:
        awaited = condition.reason or "AwaitingReconciliation"
        new = msgspec.structs.replace(
            condition, reason=awaited, observed_generation=pool.metadata.generation
        )
        return with_condition(pool.status.conditions, new, self._clock.now().replace(microsecond=0))

    def _is_another(self, pool: NodePool, generation: int | None) -> bool:
        """Whether pool or class have changed since: then older outcomes say nothing of it."""
        said = find_condition(pool.status.conditions, HEALTHY)
        if said is not None and said.observed_generation != pool.metadata.generation:
            return True
        known = pool.status.node_class_observed_generation
        return generation is not None and known is not None and generation != known

    def _class_generation(self, pool: NodePool) -> int | None:
        """None of a class that is a mere name, or missing."""
        ref = pool.spec.template.spec.node_class_ref
        store = self._node_classes.get(GroupKind(ref.group, ref.kind))
        found = store.get(ref.name) if store is not None else None
        return None if found is None else found.metadata.generation
