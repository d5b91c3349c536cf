"""Simulated machines: Node objects without a kubelet, for tests and benchmarks.

Works with an API server alone. Beside a node lifecycle controller, which wants heartbeats, run
kwok's own controller: it takes care of these nodes by their annotation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

import cloudproviders
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders import ladder, repair
from cloudproviders.errors import (
    CloudConfigurationError,
    CreateError,
    NodeClaimNotFoundError,
    OfferingRefusedError,
)
from cloudproviders.instancetype import InstanceType
from cloudproviders.kwok import nodes
from cloudproviders.kwok.errors import refusals
from cloudproviders.provider import CloudProvider, GroupKind, Instance, RepairPolicy
from cloudproviders.selection import Choice
from cloudproviders.unavailable import Scope, UnavailableOfferings
from kube.client import Client
from kube.clock import Clock
from kube.errors import AlreadyExistsError, ConflictError
from kube.objects import NODES, Node

BOOT_SECONDS = "KWOK_BOOT_SECONDS"
SOLD_OUT = "KWOK_SOLD_OUT"
CONFLICT_PAUSE = 0.1
"""Seconds."""

logger = logging.getLogger(__name__)


class KwokProvider(CloudProvider):
    """A machine is its Node. `boot_seconds` pass until it registers and reports Ready."""

    name = "kwok"
    node_classes: Sequence[GroupKind] = (GroupKind("karpenter.kwok.sh", "KWOKNodeClass"),)
    repair_policies: Sequence[RepairPolicy] = repair.NODE_NOT_READY

    def __init__(
        self,
        client: Client,
        types: Mapping[str, InstanceType],
        *,
        boot_seconds: float = 0.0,
        sold_out: Mapping[Scope, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`sold_out`: what cannot be had, and why. Asked at every order: tests change it."""
        self._client = client
        self._types = types
        self._boot_seconds = boot_seconds
        self._sold_out = {} if sold_out is None else sold_out
        self._clock = clock or Clock()
        self._unavailable = UnavailableOfferings(self._clock)
        self._booting: dict[str, asyncio.Task[None]] = {}

    async def create(self, claim: NodeClaim, /) -> Instance:
        with refusals():
            node = await self._client.get(NODES, claim.metadata.name)
            if node is None:
                node = await self._make(claim)
        if nodes.claim_uid(node) != claim.metadata.uid:
            raise CreateError("NameInUse", f"node {node.metadata.name} is not this claim's")
        self._boot(node)
        return self._instance(node)

    async def delete(self, claim: NodeClaim, /) -> None:
        """The machine goes at once; its Node when its finalizers have gone."""
        name = claim.metadata.name
        with refusals():
            node = await self._client.get(NODES, name)
            if node is not None and nodes.claim_uid(node) == claim.metadata.uid:
                await self._terminate(node)
        raise NodeClaimNotFoundError(f"simulated machine {name} is gone")

    async def get(self, provider_id: str, /) -> Instance:
        prefix, _, name = provider_id.partition(nodes.PROVIDER_ID_PREFIX)
        node = None
        if name and not prefix:
            with refusals():
                node = await self._client.get(NODES, name)
        if node is None or not nodes.ours(node):
            raise NodeClaimNotFoundError(f"no simulated machine {provider_id}")
        return self._instance(node)

    async def list(self) -> Sequence[Instance]:
        """Also resumes the boots that a former process left unfinished."""
        selector = f"{nodes.FAKE_ANNOTATION}=fake"
        with refusals():
            listed = await self._client.list(NODES, labels=selector)
        found = [node for node in listed.items if nodes.ours(node)]
        for node in found:
            self._boot(node)
        return [self._instance(node) for node in found]

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        return self._unavailable.applied(self._types.values())

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        return ""

    async def close(self) -> None:
        for task in self._booting.values():
            task.cancel()
        await asyncio.gather(*self._booting.values(), return_exceptions=True)

    async def _make(self, claim: NodeClaim) -> Node:
        async def attempt(choice: Choice) -> None:
            self._refuse_if_sold_out(choice)
            with suppress(AlreadyExistsError):  # whose it is, the uid on it tells
                await self._client.create(nodes.node(claim, choice))

        await ladder.climb(claim, self._types.values(), self._unavailable, attempt)
        node = await self._client.get(NODES, claim.metadata.name)
        if node is None:
            raise CreateError("NodeGone", f"node {claim.metadata.name} was deleted by somebody")
        return node

    def _refuse_if_sold_out(self, choice: Choice) -> None:
        for scope, why in self._sold_out.items():
            if scope.covers(choice.instance_type.name, choice.offering):
                raise OfferingRefusedError(why, scope)

    def _boot(self, node: Node) -> None:
        name = node.metadata.name
        running = self._booting.get(name)
        if nodes.booted(node) or (running is not None and not running.done()):
            return
        self._booting[name] = asyncio.create_task(self._booted(node), name=f"boot {name}")
        self._booting[name].add_done_callback(lambda task: self._finished(name, task))

    async def _booted(self, node: Node) -> None:
        created = node.metadata.creation_timestamp
        age = (self._clock.now() - created).total_seconds() if created else 0.0
        if (rest := self._boot_seconds - age) > 0:
            await self._clock.sleep(rest)
        name = node.metadata.name
        instance_type = self._instance_type(node)
        if instance_type is not None:
            status = nodes.boot_status(instance_type, self._clock.now())
            await self._client.patch(NODES, name, {"status": status}, subresource="status")
        while not await self._join(name):
            await self._clock.sleep(CONFLICT_PAUSE)

    async def _join(self, name: str) -> bool:
        """Show the provider id, by which claims know their nodes; False where somebody else
        wrote the Node at the same time."""
        node = await self._client.get(NODES, name)
        if node is None:
            return True
        try:
            await self._client.patch(NODES, name, nodes.joined(node))
        except ConflictError:
            return False
        return True

    def _finished(self, name: str, task: asyncio.Task[None]) -> None:
        """A boot that failed is not lost: the next `list` or `create` starts it again."""
        if self._booting.get(name) is task:
            del self._booting[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("simulated machine %s did not boot: %s", name, error)

    async def _terminate(self, node: Node) -> None:
        if (task := self._booting.pop(node.metadata.name, None)) is not None:
            task.cancel()
        if nodes.ours(node):
            mark = {"metadata": {"annotations": {nodes.TERMINATED_ANNOTATION: "true"}}}
            await self._client.patch(NODES, node.metadata.name, mark)
        if node.metadata.deletion_timestamp is None:
            await self._client.delete(NODES, node.metadata.name, uid=node.metadata.uid)

    def _instance(self, node: Node) -> Instance:
        return nodes.instance(node, self._instance_type(node))

    def _instance_type(self, node: Node) -> InstanceType | None:
        return self._types.get(nodes.instance_type_name(node))


def build(settings: Mapping[str, str], client: Client) -> CloudProvider:
    """KWOK_BOOT_SECONDS is how long a machine takes to boot; at once where it is not given.

    KWOK_SOLD_OUT is what cannot be had: `type/zone/capacity type`, `*` or nothing for any,
    separated by commas (`kwok-a100-1, */kwok-zone-a, kwok-a10-1/*/spot`).
    """
    text = settings.get(BOOT_SECONDS) or "0"
    try:
        boot_seconds = float(text)
    except ValueError as error:
        raise CloudConfigurationError(f"{BOOT_SECONDS} is no number: {text!r}") from error
    return KwokProvider(
        client,
        cloudproviders.instance_types("kwok"),
        boot_seconds=boot_seconds,
        sold_out=_scopes(settings.get(SOLD_OUT, "")),
    )


def _scopes(text: str) -> dict[Scope, str]:
    return {_scope(entry): f"sold out by {SOLD_OUT}" for entry in text.split(",") if entry.strip()}


def _scope(entry: str) -> Scope:
    parts = ["" if part.strip() == "*" else part.strip() for part in entry.split("/")]
    if len(parts) > 3:
        raise CloudConfigurationError(
            f"{SOLD_OUT}: {entry.strip()!r} is not of the form type/zone/capacity type"
        )
    instance_type, zone, capacity_type = (*parts, "", "")[:3]
    return Scope(instance_type=instance_type, zone=zone, capacity_type=capacity_type)
