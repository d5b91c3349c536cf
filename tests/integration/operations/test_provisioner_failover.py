"""The provisioner that leads is killed while 200 claims are in flight; the other one goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from machinecloud import MachineCloud, machine_cloud
from programs import Program, eventually, program

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from gpu_provisioner.settings import DEFAULT_LEASE
from kube.objects import LEASES, NODES
from tests.fakes import objects
from tests.integration.gpu_provisioner.world import Cluster

CLAIMS = 200
TAKE_OVER_SECONDS = 20.0


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    found = Cluster(kubeconfig)
    await found.install()
    await found.empty()
    yield found
    await found.empty()
    await found.client.close()


async def _holder(cluster: Cluster) -> str:
    lease = await cluster.client.get(LEASES, DEFAULT_LEASE, "default")
    return (lease.spec.holder_identity or "") if lease else ""


async def _two(
    stack: AsyncExitStack, cluster: Cluster, cloud: MachineCloud, logs: Path
) -> tuple[Program, Program]:
    """The one that leads, and its standby."""
    environment = {
        **cloud.environment,
        "KUBECONFIG": str(cluster.kubeconfig),
        "POD_NAMESPACE": "default",
        "LOG_LEVEL": "info",
    }
    both = [
        await stack.enter_async_context(
            program("gpu_provisioner", f"gpu-provisioner-{each}", environment, logs)
        )
        for each in "ab"
    ]
    for each in both:
        await eventually(each.ready)
    await eventually(lambda: _holder(cluster))
    holder = await _holder(cluster)
    (leader,) = (each for each in both if each.name == holder)
    (standby,) = (each for each in both if each is not leader)
    return leader, standby


async def test_the_leader_dies_with_200_claims_in_flight(cluster: Cluster, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(
            machine_cloud(cluster.client, tmp_path, slow=2.0, boot_seconds=3.0)
        )
        leader, standby = await _two(stack, cluster, cloud, tmp_path)
        names = [f"ws{number:03}" for number in range(CLAIMS)]
        made = [objects.claim_manifest(name, instance_type="local-gpu-1") for name in names]
        await asyncio.gather(*map(cluster.client.create, made))

        async def in_flight() -> bool:
            """Some machines boot, some are being ordered, and some claims have not had a look."""
            return len(cloud.machines) >= 20 and cloud.orders > len(cloud.machines)

        await eventually(in_flight)
        assert len(cloud.machines) < CLAIMS
        assert not await _all_ready(cluster, 1)
        killed = await leader.kill()
        before = cloud.orders

        async def taken_over() -> bool:
            return await _holder(cluster) == standby.name and cloud.orders > before

        await eventually(taken_over, TAKE_OVER_SECONDS + 5)
        took_over = time.monotonic() - killed
        await eventually(lambda: _all_ready(cluster, CLAIMS), 60)
        print(f"taken over in {took_over:.1f} s, all Ready in {time.monotonic() - killed:.1f} s")
        assert took_over <= TAKE_OVER_SECONDS
        await _nothing_is_doubled(cluster, cloud, names)
        await _all_go(cluster, cloud, names)
        await standby.terminate()


async def _all_ready(cluster: Cluster, count: int) -> bool:
    claims = (await cluster.client.list(NODE_CLAIMS)).items
    return sum(claim.is_true("Ready") for claim in claims) >= count


async def _nothing_is_doubled(cluster: Cluster, cloud: MachineCloud, names: list[str]) -> None:
    """A machine for each claim, made once and never given back; a Node for each machine."""
    claims = (await cluster.client.list(NODE_CLAIMS)).items
    assert sorted(claim.metadata.name for claim in claims) == names
    assert cloud.made == dict.fromkeys(names, 1)
    assert not cloud.given_back
    uids = {claim.metadata.name: claim.metadata.uid for claim in claims}
    assert {name: machine.uid for name, machine in cloud.machines.items()} == uids
    assert {claim.status.provider_id for claim in claims} == {
        machine.provider_id for machine in cloud.machines.values()
    }
    nodes = (await cluster.client.list(NODES)).items
    assert sorted(node.metadata.name for node in nodes) == names


async def _all_go(cluster: Cluster, cloud: MachineCloud, names: list[str]) -> None:
    await asyncio.gather(*(cluster.client.delete(NODE_CLAIMS, name) for name in names))

    async def gone() -> bool:
        left = (await cluster.client.list(NODE_CLAIMS)).items or cloud.machines
        return not left and not (await cluster.client.list(NODES)).items

    await eventually(gone, 60)
    assert set(cloud.given_back) == set(names)
    assert cloud.made == dict.fromkeys(names, 1)
