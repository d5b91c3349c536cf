"""Simulated machines: Node objects without a kubelet."""

from __future__ import annotations

from typing import Any, cast

import pytest

import cloudproviders
from cloudproviders.errors import (
    CloudConfigurationError,
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    NodeClaimNotFoundError,
)
from cloudproviders.kwok.provider import KwokProvider, build
from cloudproviders.provider import Instance
from kube.client import Client
from kube.errors import ForbiddenError, KubeError, ServerError, TooManyRequestsError
from kube.objects import NODES, Node
from tests.fakes import objects
from tests.fakes.clock import FakeClock, settle
from tests.fakes.memorykube import MemoryKube


class World:
    """An API server, and processes that simulate machines in it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kube = MemoryKube(self.clock)
        self.nodes = self.kube.store(NODES)
        self.kwok = self.process()

    def process(self) -> KwokProvider:
        return KwokProvider(
            cast("Client", self.kube),
            cloudproviders.instance_types("kwok"),
            boot_seconds=60,
            clock=self.clock,
        )

    def node(self, name: str = "ws1") -> Node:
        found = self.nodes.get(name)
        assert found is not None
        return found


@pytest.fixture
def world() -> World:
    return World()


def a_claim(**given: Any) -> Any:
    return objects.claim(**{"instance_type": "kwok-a10-1", **given})


async def test_a_machine_boots_in_its_time_and_reports_ready(world: World) -> None:
    taint = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    instance = await world.kwok.create(a_claim(taints=[taint]))
    await settle()
    assert instance.provider_id == "kwok://ws1"
    assert world.node().spec.provider_id == ""
    assert not world.node().ready

    world.clock.advance(60)
    await settle()

    node = world.node()
    assert node.ready
    assert node.spec.provider_id == "kwok://ws1"
    assert node.status.allocatable["nvidia.com/gpu"] == "1"
    assert [str(each) for each in node.spec.taints] == [
        "karpenter.sh/unregistered=:NoExecute",
        "sku=gpu:NoSchedule",
    ]
    assert node.metadata.annotations["kwok.x-k8s.io/node"] == "fake"
    assert node.metadata.labels["nvidia.com/gpu.product"] == "NVIDIA-A10"


async def test_the_instance_tells_what_was_bought(world: World) -> None:
    instance = await world.kwok.create(a_claim())

    assert (instance.instance_type, instance.zone) == ("kwok-a10-1", "kwok-zone-a")
    assert instance.capacity_type == "on-demand"  # as KAITO's claims expect
    assert instance.capacity["nvidia.com/gpu"] == "1"
    assert instance.labels["kubernetes.io/arch"] == "amd64"
    assert "kubernetes.io/hostname" not in instance.labels
    await world.kwok.close()


async def test_the_same_claim_twice_is_one_machine_even_in_another_process(world: World) -> None:
    first = await world.kwok.create(a_claim())
    await world.kwok.close()

    assert await world.process().create(a_claim()) == first
    assert world.kube.names(NODES) == ["ws1"]


async def test_a_boot_goes_on_in_the_next_process(world: World) -> None:
    await world.kwok.create(a_claim())
    await settle()
    await world.kwok.close()
    world.clock.advance(60)
    await settle()
    assert not world.node().ready

    await world.process().list()
    await settle()

    assert world.node().ready


async def test_a_boot_that_fails_is_begun_again(world: World) -> None:
    await world.kwok.create(a_claim())
    await settle()
    world.kube.refuse_next("patch", ServerError(500, "InternalError", "etcd"))
    world.clock.advance(60)
    await settle()
    assert not world.node().ready

    await world.kwok.list()
    await settle()

    assert world.node().ready


async def test_a_name_that_a_foreign_node_holds_is_told(world: World) -> None:
    world.kube.add(objects.node_manifest("other:///1"))

    with pytest.raises(CreateError) as told:
        await world.kwok.create(a_claim())

    assert told.value.reason == "NameInUse"


async def test_nothing_that_fits_is_insufficient_capacity(world: World) -> None:
    with pytest.raises(InsufficientCapacityError):
        await world.kwok.create(a_claim(instance_type="Standard_NC24"))

    assert world.kube.names(NODES) == []


async def test_a_deleted_machine_is_gone_at_once_with_its_node(world: World) -> None:
    await world.kwok.create(a_claim())

    with pytest.raises(NodeClaimNotFoundError):
        await world.kwok.delete(a_claim())

    assert world.kube.names(NODES) == []
    assert await world.kwok.list() == []
    world.clock.advance(60)
    await settle()
    assert world.kube.names(NODES) == []


async def test_the_node_of_a_deleted_machine_may_wait_for_its_finalizers(world: World) -> None:
    instance = await world.kwok.create(a_claim())
    world.kube.change(NODES, "ws1", {"metadata": {"finalizers": ["karpenter.sh/termination"]}})

    for _ in range(2):
        with pytest.raises(NodeClaimNotFoundError):
            await world.kwok.delete(a_claim())

    assert world.node().metadata.deletion_timestamp is not None
    assert await world.kwok.list() == []
    with pytest.raises(NodeClaimNotFoundError):
        await world.kwok.get(instance.provider_id)


async def test_a_machine_of_another_claim_of_that_name_is_kept(world: World) -> None:
    await world.kwok.create(a_claim(uid="new"))

    with pytest.raises(NodeClaimNotFoundError):
        await world.kwok.delete(a_claim(uid="old"))

    (instance,) = await world.kwok.list()
    assert instance.claim_uid == "new"
    await world.kwok.close()


async def test_only_machines_are_found(world: World) -> None:
    world.kube.add(objects.node_manifest("other:///1", "other"))
    made = await world.kwok.create(a_claim())

    assert await world.kwok.list() == [made]
    assert await world.kwok.get("kwok://ws1") == made
    for provider_id in ("kwok://other", "ws1", "kwok://none", "", "other:///kwok://ws1"):
        with pytest.raises(NodeClaimNotFoundError):
            await world.kwok.get(provider_id)
    assert len(await world.kwok.instance_types()) == 6
    assert await world.kwok.is_drifted(a_claim()) == ""
    await world.kwok.close()


async def test_the_settings_can_sell_machines_out(world: World) -> None:
    kwok = build(
        {"KWOK_SOLD_OUT": "kwok-a10-1/*/on-demand, */kwok-zone-b"}, cast("Client", world.kube)
    )

    with pytest.raises(InsufficientCapacityError, match="sold out by KWOK_SOLD_OUT"):
        await kwok.create(a_claim())

    anything = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["kwok-a100-1"]}
    ]
    instance = await kwok.create(a_claim(requirements=anything))
    assert isinstance(instance, Instance)
    assert (instance.zone, instance.capacity_type) == ("kwok-zone-a", "on-demand")
    available = {
        (each.name, offering.zone, offering.capacity_type)
        for each in await kwok.instance_types()
        for offering in each.offerings
        if offering.available
    }
    assert ("kwok-a10-1", "kwok-zone-a", "on-demand") not in available
    assert ("kwok-a10-1", "kwok-zone-a", "spot") in available
    await kwok.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"KWOK_BOOT_SECONDS": "soon"}, "KWOK_BOOT_SECONDS"),
        ({"KWOK_SOLD_OUT": "a/b/c/d"}, "KWOK_SOLD_OUT"),
    ],
)
def test_settings_that_cannot_work_are_named(
    world: World, settings: dict[str, str], told: str
) -> None:
    with pytest.raises(CloudConfigurationError, match=told):
        build(settings, cast("Client", world.kube))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ServerError(503, "ServiceUnavailable", "etcd"), CloudUnavailableError),
        (TooManyRequestsError(429, "TooManyRequests", "busy"), CloudUnavailableError),
        (ForbiddenError(403, "Forbidden", "may not"), CreateError),
    ],
)
async def test_refusals_of_the_api_server_are_those_of_the_contract(
    world: World, error: KubeError, kind: type[Exception]
) -> None:
    world.kube.refuse_next("create", error)

    with pytest.raises(kind, match=error.reason):
        await world.kwok.create(a_claim())
