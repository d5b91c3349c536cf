"""What tests of the end of claims and nodes share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.errors import CloudUnavailableError
from kube.objects import NODES, PODS, Node, Pod
from tests.fakes.cloud import FakeCloud
from tests.integration.gpu_provisioner.world import BootingCloud, Cluster, eventually

FINALIZER = "karpenter.sh/termination"
STAMP = "karpenter.sh/nodeclaim-termination-timestamp"
HOLDS = {"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}}
"""Of a pod that no drain gets rid of."""

A_WHILE = 0.4
"""Seconds in which a provisioner with quick timings has looked at everything several times."""


class AbsentCloud(BootingCloud):
    """Answers no delete while it is `away`."""

    away = False

    async def delete(self, claim: NodeClaim, /) -> None:
        if self.away:
            self.deletes.append(False)
            raise CloudUnavailableError("connection refused")
        await super().delete(claim)


async def pod(cluster: Cluster, name: str) -> Pod | None:
    return await cluster.client.get(PODS, name, "default")


async def leaving(cluster: Cluster, name: str) -> bool:
    """Whether the pod has been told to go, or has gone."""
    found = await pod(cluster, name)
    return found is None or found.metadata.deletion_timestamp is not None


async def is_leaving(cluster: Cluster, *names: str) -> None:
    async def check() -> None:
        for name in names:
            assert await leaving(cluster, name), name

    await eventually(check)


async def is_gone(cluster: Cluster, name: str) -> None:
    async def check() -> None:
        assert await pod(cluster, name) is None

    await eventually(check)


async def kill(cluster: Cluster, *names: str) -> None:
    """The kubelet's part: the pods have ended."""
    for name in names:
        await cluster.client.delete(PODS, name, namespace="default", grace_period_seconds=0)


async def delete(cluster: Cluster, name: str = "ws1") -> None:
    await cluster.client.delete(NODE_CLAIMS, name)


async def node_ends(cluster: Cluster, name: str = "ws1") -> Node:
    """The Node, once it is on its way out and tainted."""

    async def check() -> Node:
        found = await cluster.node(name)
        assert found is not None
        assert found.metadata.deletion_timestamp is not None
        assert any(taint.key == "karpenter.sh/disrupted" for taint in found.spec.taints)
        return found

    return await eventually(check)


async def becomes_not_ready(cluster: Cluster, name: str = "ws1") -> None:
    conditions = [{"type": "Ready", "status": "False"}]
    await cluster.client.patch(
        NODES, name, {"status": {"conditions": conditions}}, subresource="status"
    )


async def told(cluster: Cluster, reason: str) -> str:
    """The message of the event, once it was told."""

    async def check() -> str:
        messages = [each.message for each in cluster.events.told if each.reason == reason]
        assert messages, cluster.events.reasons()
        return messages[-1]

    return await eventually(check)


async def stays(check: Callable[[], Awaitable[Any]]) -> None:
    """The check holds, a while later too."""
    await check()
    await asyncio.sleep(A_WHILE)
    await check()


async def nothing_is_leaked(cluster: Cluster, cloud: FakeCloud) -> None:
    """The cloud has the instances of the claims that there are, and no others."""

    async def check() -> None:
        claims = (await cluster.client.list(NODE_CLAIMS)).items
        instances = await cloud.list()
        assert sorted(each.claim_uid for each in instances) == sorted(
            claim.metadata.uid for claim in claims if claim.status.provider_id
        )

    await eventually(check)
