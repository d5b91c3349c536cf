"""One at a time of a namespace asks for nodes, by what the API server itself shows just then.

Caches lag: two rounds that each see the last free GPU would both take it, and so would a leader
that has just taken over and does not see yet what the one before it asked for. So where a quota
applies, whoever is about to make nodes takes the namespace's lock, lists the claims anew, decides
once more, and keeps the lock until they are made. It costs two short lists for each round that
makes nodes, and nothing for all the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from apis.kaito.validation.quota import QuotaError
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Resource
from kube.objects import Unstructured
from workspace_controller import marks, tenancy
from workspace_controller.manifests.nodepool import POOLS
from workspace_controller.marks import Owner
from workspace_controller.plan import Plan
from workspace_controller.quota import Shown, Tenant
from workspace_controller.tenancywaits import Waiting

_CLAIMS: Resource[Unstructured] = Resource(
    NODE_CLAIMS.group,
    NODE_CLAIMS.version,
    NODE_CLAIMS.kind,
    NODE_CLAIMS.plural,
    Unstructured,
    namespaced=False,
)
"""Whatever else they say: one that we cannot parse costs money, too, and is counted."""


class QuotaGate:
    """Of one process: another one that leads at the same time is the lease's to prevent."""

    def __init__(self, client: Client, waiting: Waiting | None = None) -> None:
        self._client = client
        self.waiting = waiting or Waiting()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def confirmed(self, tenant: Tenant | None, plan: Plan) -> AsyncIterator[Shown | None]:
        """What the API server shows, by which to decide again and act while the block lasts; None
        where the plan makes no nodes, or nobody limits them."""
        if tenant is None or not tenancy.asks_for_nodes(plan) or not _is_limited(tenant):
            yield None
            return
        namespace = tenant.owner.metadata.namespace
        lock = self._locks.setdefault(namespace, asyncio.Lock())
        async with lock:
            yield await self._look(namespace, pooled=tenant.stores.pools is not None)

    def note(self, owner: Owner, plan: Plan) -> None:
        """Whether it waits for a quota now; without an await after the decision."""
        self.waiting.note(
            owner,
            waits=plan.waits_for in tenancy.WAITS,
            unfinished=any(each.status != "True" for each in plan.conditions),
        )

    def forget(self, owner: Owner) -> None:
        """It is deleted: no change in the namespace is its concern."""
        self.waiting.forget(owner)

    async def _look(self, namespace: str, *, pooled: bool) -> Shown:
        keys = {each.claim[1] for each in marks.ALL}
        of_pools = {each.pool[1] for each in marks.ALL} if pooled else set()
        claims: list[Unstructured] = []
        for key in sorted(keys | of_pools):
            claims += await self._list(_CLAIMS, key, namespace)
        pools: list[Unstructured] = []
        for key in sorted(of_pools):
            pools += await self._list(POOLS, key, namespace)
        return Shown(tuple(claims), tuple(pools))

    async def _list(self, kind: Resource[Any], key: str, namespace: str) -> list[Any]:
        try:
            return (await self._client.list(kind, labels=f"{key}={namespace}")).items
        except NotFoundError:
            return []  # the cluster does not know the kind, so there are none


def _is_limited(tenant: Tenant) -> bool:
    try:
        return tenant.account() is not None
    except QuotaError:
        return True
