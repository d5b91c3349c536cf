"""Nodes that stay sick are replaced; never too many of a pool at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.provider import RepairPolicy
from gpu_provisioner import metrics
from gpu_provisioner.node.health import NodeHealth, allowed, policies
from kube.controller import Result
from kube.objects import NODES
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World

STAMP = "karpenter.sh/nodeclaim-termination-timestamp"
POLICIES = (
    RepairPolicy("Ready", "False", timedelta(minutes=10)),
    RepairPolicy("XIDErrors", "True", timedelta(minutes=2)),
)


@pytest.fixture
def health(world: World) -> NodeHealth:
    world.cloud.repair_policies = POLICIES
    return NodeHealth(world.shared, world.stores)


async def examine(world: World, health: NodeHealth, name: str = "ws1") -> Result:
    return await health.reconcile(world.node(name))


def falls_ill(world: World, kind: str, status: str, name: str = "ws1") -> None:
    ready = {"type": "Ready", "status": "True"}
    since = {"lastTransitionTime": stamp(world.now())}
    sick = {"type": kind, "status": status, "message": "it hurts", **since}
    shown = [sick] if kind == "Ready" else [ready, sick]
    world.kube.change(NODES, name, {"status": {"conditions": shown}})


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


async def pool_of(world: World, size: int, pool: str = "kaito") -> None:
    """Nodes ws1 to ws<size>, each with its claim; in no pool where its name is empty."""
    labels = {"karpenter.sh/nodepool": pool} if pool else {}
    for number in range(1, size + 1):
        await world.add_ready(f"ws{number}", labels=labels)


async def test_case_59_a_node_that_stays_sick_is_replaced_at_once(
    world: World, health: NodeHealth
) -> None:
    await world.add_ready()
    falls_ill(world, "Ready", "False")
    unhealthy = metrics.CLAIMS_UNHEALTHY_DISRUPTED.labels("ready", "", "on-demand", "image-1")
    before = unhealthy._value.get()
    assert (await examine(world, health)).requeue_after == 600.0
    world.clock.advance(599)
    assert (await examine(world, health)).requeue_after == 1.0
    assert not world.claim().deleting

    world.clock.advance(1)
    await examine(world, health)
    await examine(world, health)

    assert world.claim().deleting
    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:10:00Z"
    assert unhealthy._value.get() == before + 1
    (told,) = [each for each in world.events.told if each.reason == "NodeUnhealthy"]
    assert told.message == (
        "node ws1 has Ready=False since 2026-01-01T00:00:00Z: it hurts;"
        " deleting it with its instance, at once"
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        pytest.param("DiskPressure", "True", id="no policy for the type"),
        pytest.param("XIDErrors", "False", id="the good status"),
        pytest.param("Ready", "True", id="well"),
    ],
)
async def test_case_59_other_conditions_do_not_matter(
    world: World, health: NodeHealth, kind: str, status: str
) -> None:
    await world.add_ready()
    falls_ill(world, kind, status)
    world.clock.advance(86400)

    assert (await examine(world, health)).requeue_after is None
    assert not world.claim().deleting


async def test_the_nearest_deadline_wins(world: World, health: NodeHealth) -> None:
    await world.add_ready()
    since = {"lastTransitionTime": stamp(world.now())}
    conditions = [
        {"type": "Ready", "status": "False", **since},
        {"type": "XIDErrors", "status": "True", **since},
    ]
    world.kube.change(NODES, "ws1", {"status": {"conditions": conditions}})

    assert (await examine(world, health)).requeue_after == 120.0


def test_watchers_of_gpus_are_heeded_wherever_nodes_are_repaired_at_all() -> None:
    assert policies(()) == ()

    (own, *of_gpus) = policies((RepairPolicy("XIDErrors", "True", timedelta(minutes=2)),))

    assert own.toleration == timedelta(minutes=2)
    assert {each.condition_type for each in of_gpus} == {
        "AcceleratedHardwareReady",
        "GPUMissing",
        "NVLinkStatusInactive",
    }


async def test_a_cloud_without_policies_wants_no_repair(world: World) -> None:
    await world.add_ready()
    nothing = {"status": {"allocatable": {"nvidia.com/gpu": "0"}, "conditions": []}}
    world.kube.change(NODES, "ws1", nothing)

    assert (await examine(world, NodeHealth(world.shared, world.stores))).requeue_after is None


@pytest.mark.parametrize(
    ("size", "may"),
    [(1, 1), (3, 1), (5, 1), (6, 2), (10, 2), (11, 3), (100, 20)],
)
def test_a_share_is_rounded_up(size: int, may: int) -> None:
    assert allowed(size) == may


async def sicken(world: World, health: NodeHealth, *names: str) -> list[float | None]:
    """They fall ill together and stay so; what is said of each."""
    for name in names:
        falls_ill(world, "Ready", "False", name)
    world.clock.advance(600)
    return [(await examine(world, health, name)).requeue_after for name in names]


@pytest.mark.parametrize("pool", [pytest.param("kaito", id="pool"), pytest.param("", id="cluster")])
async def test_case_59_too_many_at_once_are_no_illness_of_the_nodes(
    world: World, health: NodeHealth, pool: str
) -> None:
    await pool_of(world, 5, pool)

    assert await sicken(world, health, "ws1", "ws2") == [300.0, 300.0]

    assert not world.claim("ws1").deleting
    (told,) = [
        each
        for each in world.events.told
        if each.reason == "NodeRepairBlocked" and each[:2] == ("Node", "ws1")
    ]
    where = "of node pool kaito" if pool else "of the cluster"
    assert f"2 of the 5 nodes {where} are unhealthy, over 20 %" in told.message


async def test_case_59_one_of_a_small_pool_may_be_replaced(
    world: World, health: NodeHealth
) -> None:
    await pool_of(world, 3)

    await sicken(world, health, "ws2")

    assert world.claim("ws2").deleting


async def test_another_pool_is_another_matter(world: World, health: NodeHealth) -> None:
    await pool_of(world, 2)
    await world.add_ready("lone", labels={"karpenter.sh/nodepool": "other"})

    await sicken(world, health, "ws1", "ws2", "lone")

    assert world.claim("lone").deleting
    assert not world.claim("ws1").deleting


async def test_that_repair_is_blocked_is_said_each_quarter_of_an_hour(
    world: World, health: NodeHealth
) -> None:
    await pool_of(world, 5)
    await sicken(world, health, "ws1", "ws2")

    def told() -> int:
        return world.events.reasons().count("NodeRepairBlocked")

    assert told() == 4  # of two nodes, on Node and claim
    world.clock.advance(899)
    await examine(world, health)
    assert told() == 4
    world.clock.advance(1)
    await examine(world, health)
    assert told() == 6


async def test_a_deadline_that_is_past_stays(world: World, health: NodeHealth) -> None:
    await world.add_ready()
    past = {"metadata": {"annotations": {STAMP: "2025-12-31T00:00:00Z"}}}
    world.kube.change(NODE_CLAIMS, "ws1", past)

    await sicken(world, health, "ws1")

    assert world.claim().deleting
    assert world.claim().metadata.annotations[STAMP] == "2025-12-31T00:00:00Z"


async def test_one_to_come_is_brought_forward(world: World, health: NodeHealth) -> None:
    await world.add_ready()
    later = {"metadata": {"annotations": {STAMP: "2026-02-01T00:00:00Z"}}}
    world.kube.change(NODE_CLAIMS, "ws1", later)

    await sicken(world, health, "ws1")

    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:10:00Z"


class TestDevices:
    """What the device plugin offers, against what the machine has."""

    async def gpu_node(self, world: World, *, gpus: str = "1", asked: bool = True) -> None:
        requests = {"nvidia.com/gpu": "1"} if asked else {"cpu": "1"}
        provider_id = await world.add_launched(resources={"requests": requests})
        offered = {"cpu": "8", "nvidia.com/gpu": gpus}
        world.kube.add(objects.node_manifest(provider_id, allocatable=offered))
        self.offers(world, gpus)
        await world.reconcile()
        await world.reconcile()
        self.promises(world, gpus)

    def promises(self, world: World, gpus: str) -> None:
        capacity = {"cpu": "8", "nvidia.com/gpu": gpus}
        world.kube.change(NODE_CLAIMS, "ws1", {"status": {"capacity": capacity}})

    def offers(self, world: World, allocatable: str | None, **others: Any) -> None:
        amounts = {"cpu": "8", "nvidia.com/gpu": allocatable, **others}
        world.kube.change(NODES, "ws1", {"status": {"allocatable": amounts}})
        have = world.node().status.capacity.get("nvidia.com/gpu") or allocatable
        world.kube.change(NODES, "ws1", {"status": {"capacity": {"nvidia.com/gpu": have}}})

    async def test_a_gpu_that_is_lost_for_ten_minutes_is_a_reason(
        self, world: World, health: NodeHealth
    ) -> None:
        await self.gpu_node(world)
        assert (await examine(world, health)).requeue_after is None
        self.offers(world, "0")

        assert (await examine(world, health)).requeue_after == 600.0
        world.clock.advance(600)
        await examine(world, health)

        assert world.claim().deleting
        (told,) = [each for each in world.events.told if each.reason == "NodeUnhealthy"]
        assert "0 of 1 nvidia.com/gpu are left" in told.message
        assert "GPUCapacity=False since 2026-01-01T00:00:00Z" in told.message

    async def test_one_that_comes_back_in_time_is_none(
        self, world: World, health: NodeHealth
    ) -> None:
        await self.gpu_node(world)
        self.offers(world, "0")
        await examine(world, health)
        world.clock.advance(599)
        self.offers(world, "1")
        await examine(world, health)
        self.offers(world, "0")
        world.clock.advance(1)

        assert (await examine(world, health)).requeue_after == 600.0
        assert not world.claim().deleting

    async def test_a_restart_starts_the_clock_again(self, world: World, health: NodeHealth) -> None:
        await self.gpu_node(world)
        self.offers(world, "0")
        await examine(world, health)
        world.clock.advance(599)

        restarted = NodeHealth(world.shared, world.stores)

        assert (await examine(world, restarted)).requeue_after == 600.0

    async def test_before_initialization_it_is_initialization_that_waits(
        self, world: World, health: NodeHealth
    ) -> None:
        provider_id = await world.add_launched(resources={"requests": {"nvidia.com/gpu": "1"}})
        world.kube.add(objects.node_manifest(provider_id))

        assert (await examine(world, health)).requeue_after is None

    @pytest.mark.parametrize(
        "offered",
        [
            pytest.param({"nvidia.com/mig-1g.10gb": "7"}, id="cut up"),
            pytest.param({}, id="no plugin"),
        ],
    )
    async def test_gpus_that_nobody_asked_for_may_be_hidden(
        self, world: World, health: NodeHealth, offered: dict[str, str]
    ) -> None:
        await self.gpu_node(world, asked=offered != {})
        self.offers(world, None, **offered)

        assert (await examine(world, health)).requeue_after is None
