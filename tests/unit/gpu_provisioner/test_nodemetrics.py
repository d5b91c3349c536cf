"""What is told of claims and nodes: what is paid for, and what it does."""

from __future__ import annotations

import asyncio
from typing import cast

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from gpu_provisioner import metrics
from gpu_provisioner.nodemetrics import NodeCollector, told_by_the_leader
from gpu_provisioner.shared import Caches
from kube.client import Client
from kube.leadermetrics import WhileLeading
from kube.metrics import REGISTRY
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World


def phases(world: World) -> dict[str, float]:
    collector = NodeCollector(world.stores, world.shared.managed, world.clock)
    families = {each.name: each for each in collector.collect()}
    return {
        each.labels["phase"]: each.value
        for each in families["kaito_nodeclaims"].samples
        if each.value
    }


async def test_a_node_is_idle_until_somebodys_pod_is_on_it(world: World) -> None:
    world.add_claim("ws2")
    assert phases(world) == {"waiting": 1}
    await world.add_ready()
    assert phases(world) == {"waiting": 1, "idle": 1}
    world.kube.add(objects.pod_manifest("daemon", owner="DaemonSet"))
    world.kube.add(objects.pod_manifest("static", owner="Node"))
    world.kube.add(objects.pod_manifest("done", phase="Succeeded"))
    assert phases(world) == {"waiting": 1, "idle": 1}
    world.kube.add(objects.pod_manifest("model", owner="StatefulSet"))
    assert phases(world) == {"waiting": 1, "busy": 1}


async def test_a_claim_that_ends_is_told_as_long_as_it_is_paid_for(world: World) -> None:
    await world.add_ready()
    await world.shared.claims.delete(world.claim())
    assert phases(world) == {"ending": 1}


async def test_gpus_and_ages_are_those_of_the_nodes(world: World) -> None:
    await world.add_ready()
    collector = NodeCollector(world.stores, world.shared.managed, world.clock)
    families = {each.name: each for each in collector.collect()}
    (gpus,) = (
        each
        for each in families["karpenter_nodes_allocatable"].samples
        if each.labels["resource_type"] == "nvidia.com_gpu"
    )
    assert gpus.value == 1
    assert gpus.labels["node_name"] == "ws1"


async def test_all_phases_are_told_where_there_is_nothing(world: World) -> None:
    collector = NodeCollector(world.stores, world.shared.managed, world.clock)
    (count, *_) = collector.collect()
    assert [each.value for each in count.samples] == [0, 0, 0, 0]


async def test_machines_without_a_claim_are_counted_before_they_are_ended(world: World) -> None:
    await world.add_ready()
    world.kube.vanish(NODE_CLAIMS, "ws1")
    world.clock.advance(world.timings.garbage_grace + 1)
    collected = REGISTRY.get_sample_value("kaito_instances_collected_total") or 0
    told = WhileLeading((metrics.INSTANCES_WITHOUT_CLAIM,))
    term = asyncio.create_task(told.run())
    await asyncio.sleep(0)
    for found, ended in ((1, 1), (0, 1)):
        await world.collect_garbage()
        assert REGISTRY.get_sample_value("kaito_instances_without_claim") == found
        assert REGISTRY.get_sample_value("kaito_instances_collected_total") == collected + ended
    term.cancel()
    await asyncio.gather(term, return_exceptions=True)


async def test_machines_without_a_claim_are_told_by_no_former_leader(world: World) -> None:
    """Or a sum over the replicas would count the same machine for each that led once."""
    await world.add_ready()
    world.kube.vanish(NODE_CLAIMS, "ws1")
    world.clock.advance(world.timings.garbage_grace + 1)
    caches = Caches.of(cast("Client", world.kube), world.cloud, world.clock)
    told = told_by_the_leader(world.shared, caches)
    for _ in range(2):
        assert REGISTRY.get_sample_value("kaito_instances_without_claim") is None
        term = asyncio.create_task(told.run())
        await asyncio.sleep(0)
        assert REGISTRY.get_sample_value("kaito_instances_without_claim") is not None
        term.cancel()  # the lease is lost
        await asyncio.gather(term, return_exceptions=True)
