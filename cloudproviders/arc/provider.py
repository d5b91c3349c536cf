"""NodeClaims ↔ agent pools of a cluster on Azure Local: one pool of one machine a claim."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import cloudproviders
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders import ladder
from cloudproviders.arc import pools, sdk
from cloudproviders.arc.book import Book, Known, Turns
from cloudproviders.arc.errors import BusyError, RefusedError, classified, cut
from cloudproviders.arc.pools import Pool
from cloudproviders.arc.settings import ArcSettings, parse
from cloudproviders.arc.site import Site
from cloudproviders.errors import (
    CloudError,
    CreateError,
    NodeClaimNotFoundError,
    OfferingRefusedError,
)
from cloudproviders.instancetype import InstanceType
from cloudproviders.joined import joined
from cloudproviders.provider import CloudProvider, GroupKind, Instance, Pending, RepairPolicy
from cloudproviders.selection import Choice
from cloudproviders.unavailable import UnavailableOfferings
from kube.client import Client
from kube.clock import Clock
from kube.meta import Manifest
from kube.objects import NODES, Node

LOOK_SECONDS = 15.0
"""Between two looks at what the cluster does; machines take minutes to come."""

FRESH_SECONDS = 5.0
"""So old may be what tells that a pool does not exist."""

NOT_READY = timedelta(minutes=10)


class Api(Protocol):
    """The part of the API in use. Refusals are those of `cloudproviders.arc.errors`."""

    async def put(self, name: str, body: Manifest, /) -> None: ...
    async def delete(self, name: str, /) -> None: ...
    async def list(self) -> Sequence[Pool]: ...
    async def sizes(self) -> Sequence[str]: ...
    async def close(self) -> None: ...


class ArcProvider(CloudProvider):
    """All it knows stands on the pools and on their Nodes; what it remembers spares calls."""

    name = "arc"
    node_classes: Sequence[GroupKind] = (GroupKind("kaito.sh", "KaitoNodeClass"),)
    repair_policies: Sequence[RepairPolicy] = (
        RepairPolicy("Ready", "False", NOT_READY),
        RepairPolicy("Ready", "Unknown", NOT_READY),
    )

    def __init__(
        self,
        settings: ArcSettings,
        api: Api,
        client: Client,
        types: Mapping[str, InstanceType],
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._api = api
        self._client = client
        self._types = types
        self._clock = clock or Clock()
        self._book = Book(api.list, self._clock)
        self._turns = Turns(self._clock)
        self._changing = asyncio.Lock()
        self._unavailable = UnavailableOfferings(self._clock)
        self._site = Site(api.sizes, types, self._clock)
        self._failures: dict[str, str] = {}
        """What became of the last pool of a claim, by its uid: told while the next is made."""

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        name = pools.name_of(claim.metadata.name)
        pool = (await self._book.pools(LOOK_SECONDS)).get(name)
        if pool is None or pool.state in pools.FAILED:
            async with self._changing:
                known = await self._book.pools(LOOK_SECONDS)
                pool = known.get(name)
                if pool is None:
                    return await self._order(claim, name, known)
                if self._is_of(pool, claim) and pool.state in pools.FAILED:
                    return await self._clear_away(claim, pool, known)
        return await self._look(claim, pool)

    async def delete(self, claim: NodeClaim, /) -> None:
        """One that is still being made goes when the cluster has finished making it."""
        pool = await self._existing(claim)
        if pool.state == "Deleting":
            return
        async with self._changing:
            pool = await self._existing(claim)
            if not self._must_wait(claim, await self._book.pools(FRESH_SECONDS)):
                await self._unmake(claim, pool)

    async def get(self, provider_id: str, /) -> Instance:
        known = await self._book.pools(FRESH_SECONDS)
        for pool, node in await self._with_nodes(known):
            if node is not None and node.spec.provider_id == provider_id:
                return self._instance(pool, node)
        raise NodeClaimNotFoundError(f"{provider_id or 'nothing'} is no machine of our pools")

    async def list(self) -> Sequence[Instance]:
        known = await self._book.pools(0)
        return [self._instance(pool, node) for pool, node in await self._with_nodes(known)]

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        return self._unavailable.applied(await self._site.types())

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        return ""

    def claim_of(self, node: Node, /) -> str:
        found = node.metadata.labels
        return found.get(pools.CLAIM_LABEL, "") if pools.OWNER_LABEL in found else ""

    async def close(self) -> None:
        await self._api.close()

    async def _order(self, claim: NodeClaim, name: str, known: Known) -> Pending:
        if waits := self._must_wait(claim, known):
            return self._pending(claim, f"agent pool {name} {waits}")
        limit = self._settings.pool_limit
        if len(known) >= limit:
            raise CreateError(
                "QuotaExceeded",
                f"cluster {self._settings.cluster} has {len(known)} of the {limit} agent pools"
                " that AKS allows on Azure Local; delete one that is not needed",
            )

        async def attempt(choice: Choice) -> Pool:
            return await self._put(claim, name, choice)

        try:
            pool = await ladder.climb(claim, await self._site.types(), self._unavailable, attempt)
        except BusyError as busy:
            return self._pending(claim, f"agent pool {name} waits: {busy}")
        return self._pending(claim, f"agent pool {name}: {pool.state}, {pool.vm_size}")

    async def _put(self, claim: NodeClaim, name: str, choice: Choice) -> Pool:
        body = pools.body(
            claim,
            choice,
            location=self._settings.location_id,
            cluster=self._settings.cluster,
            tags=self._settings.arm.tags,
        )
        try:
            await self._api.put(name, body)
        except RefusedError as refused:
            raise classified(refused.code, refused.text, choice.instance_type.name) from refused
        except BaseException:  # it may have been done all the same
            self._book.doubt()
            raise
        pool = pools.ordered(name, body, self._clock.now())
        self._book.write(name, pool)
        self._turns.taken(claim.metadata.uid)
        return pool

    async def _clear_away(self, claim: NodeClaim, pool: Pool, known: Known) -> Pending:
        """A pool that has failed teaches what not to try next, and makes room for it."""
        refusal = _refusal(pool)
        if isinstance(refusal, OfferingRefusedError):
            self._unavailable.mark(refusal.scope, refusal.message, ttl=refusal.ttl)
        told = f"agent pool {pool.name} failed: {refusal}"
        if waits := self._must_wait(claim, known):
            return self._pending(claim, f"{told}; its deletion {waits}")
        await self._unmake(claim, pool)
        self._failures[claim.metadata.uid] = str(refusal)
        if isinstance(refusal, CreateError):
            raise refusal
        return Pending(message=f"{told}; deleting it before the next try", look_again=LOOK_SECONDS)

    async def _unmake(self, claim: NodeClaim, pool: Pool) -> None:
        try:
            await self._api.delete(pool.name)
        except BusyError:
            self._book.doubt()
            return
        except BaseException:
            self._book.doubt()
            raise
        self._book.write(pool.name, pools.deleting(pool))
        self._turns.taken(claim.metadata.uid)

    async def _look(self, claim: NodeClaim, pool: Pool) -> Instance | Pending:
        uid = claim.metadata.uid
        if not self._is_of(pool, claim):
            return self._taken(claim, pool)
        node = await joined(self._client, f"{pools.UID_LABEL}={uid}")
        if node is not None:
            self._failures.pop(uid, None)
            return self._instance(pool, node)
        if pool.state == "Succeeded":
            return self._pending(claim, f"agent pool {pool.name}: no Node has joined from it yet")
        age = (self._clock.now() - pool.created).total_seconds() if pool.created else 0.0
        return self._pending(claim, f"agent pool {pool.name}: {pool.state}, {age:.0f} s")

    def _taken(self, claim: NodeClaim, pool: Pool) -> Pending:
        if pool.ours(self._settings.cluster):
            return self._pending(
                claim,
                f"agent pool {pool.name} of a former claim of that name has to go first"
                f" ({pool.state})",
            )
        raise CreateError(
            "NameInUse",
            f"agent pool {pool.name} exists and was not made for claim {claim.metadata.name};"
            " delete one or the other",
        )

    async def _existing(self, claim: NodeClaim) -> Pool:
        name = pools.name_of(claim.metadata.name)
        pool = (await self._book.pools(FRESH_SECONDS)).get(name)
        if pool is None or not self._is_of(pool, claim):
            self._failures.pop(claim.metadata.uid, None)
            self._turns.taken(claim.metadata.uid)
            raise NodeClaimNotFoundError(f"there is no agent pool {name} for this claim")
        return pool

    def _is_of(self, pool: Pool, claim: NodeClaim) -> bool:
        return pool.ours(self._settings.cluster) and pool.claim_uid == claim.metadata.uid

    def _must_wait(self, claim: NodeClaim, known: Known) -> str:
        """Why the claim cannot have the cluster's one operation now; "" where it can."""
        ahead = self._turns.ahead(claim.metadata.uid)
        queue = f", {ahead} before it" if ahead else ""
        working = next((each for each in known.values() if each.working), None)
        if working is not None:
            return f"waits for agent pool {working.name} ({working.state}){queue}"
        return f"waits for its turn{queue}" if ahead else ""

    def _pending(self, claim: NodeClaim, message: str) -> Pending:
        before = self._failures.get(claim.metadata.uid)
        told = f"{message}; before: {before}" if before else message
        return Pending(message=told, look_again=LOOK_SECONDS)

    async def _with_nodes(self, known: Known) -> Sequence[tuple[Pool, Node | None]]:
        selector = f"{pools.OWNER_LABEL}={pools.OWNER}"
        nodes = {
            node.metadata.labels.get(pools.UID_LABEL, ""): node
            for node in (await self._client.list(NODES, labels=selector)).items
            if node.spec.provider_id
        }
        ours = [pool for pool in known.values() if pool.ours(self._settings.cluster)]
        return [(pool, nodes.get(pool.claim_uid)) for pool in ours]

    def _instance(self, pool: Pool, node: Node | None) -> Instance:
        return pools.instance(pool, node, self._types.get(pool.vm_size))


def _refusal(pool: Pool) -> CloudError:
    text = pool.error or f"agent pool {pool.name}: {pool.state}, and the site does not say why"
    return classified("", cut(text), pool.vm_size)


def build(settings: Mapping[str, str], client: Client) -> CloudProvider:
    """From ARC_CLUSTER_ID, ARC_CUSTOM_LOCATION_ID and ARC_AUTH with what that needs."""
    parsed = parse(settings)
    return ArcProvider(parsed, sdk.ArcApi(parsed), client, cloudproviders.instance_types("arc"))
