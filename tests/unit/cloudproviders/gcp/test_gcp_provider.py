"""The provider over an emulated GKE: what goes beyond the rules of the conformance suite."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

import cloudproviders
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.errors import (
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    NodeClassNotReadyError,
)
from cloudproviders.gcp.cluster import PATIENCE_SECONDS
from cloudproviders.gcp.errors import TTL_SECONDS, Kind
from cloudproviders.gcp.nodeclass import GCE_NODE_CLASSES
from cloudproviders.gcp.provider import LOST_SECONDS
from cloudproviders.provider import Instance, Pending
from kube.meta import Manifest
from kube.objects import NODES
from tests.conformance.cloudprovider.gcp_world import QUOTA, GcpWorld
from tests.conformance.cloudprovider.refusals import outcome
from tests.fakes.gke.gke import Fate, Refusal

GCE = {"group": "karpenter.k8s.gcp", "kind": "GCENodeClass", "name": "default"}
ON_DEMAND = [labels.CAPACITY_ON_DEMAND]
A, B = "us-central1-a", "us-central1-b"


def a_class(**spec: Any) -> Manifest:
    return {
        "apiVersion": "karpenter.k8s.gcp/v1alpha1",
        "kind": "GCENodeClass",
        "metadata": {"name": "default"},
        "spec": spec,
    }


def of_class(claim: NodeClaim) -> NodeClaim:
    ref = claim.spec.node_class_ref.model_copy(update=GCE)
    return claim.model_copy(update={"spec": claim.spec.model_copy(update={"node_class_ref": ref})})


async def rounds(world: GcpWorld, claim: NodeClaim, count: int) -> list[str]:
    """What the user reads, round by round."""
    told = []
    for _ in range(count):
        answer = await world.provider.create(claim)
        if isinstance(answer, Instance):
            return told
        told.append(answer.message)
        await world.tick(answer.look_again)
    return told


async def test_the_user_reads_what_google_is_at(world: GcpWorld) -> None:
    claim = world.claim("ws1")
    answer = await world.provider.create(claim)
    assert isinstance(answer, Pending)
    assert answer.message == (
        "node pool ws1: PROVISIONING, 0 s, g2-standard-4 (on-demand in us-central1-a)"
    )

    world.gke.create_seconds = math.inf
    other = world.claim("ws2")
    told = await rounds(world, other, 3)
    assert [each.split(", ")[1] for each in told] == ["0 s", "20 s", "40 s"]


async def test_a_node_that_has_joined_costs_no_question(world: GcpWorld) -> None:
    claim = world.claim()
    await world.provider.create(claim)
    await world.tick(20)
    before = world.calls.reads

    made = await world.provider.create(claim)

    assert isinstance(made, Instance)
    assert world.calls.reads == before


async def test_a_stock_out_that_google_sits_out_is_not_sat_out_with_it(world: GcpWorld) -> None:
    """35 minutes GKE goes on trying, and deletes nothing; the next zone has the machine now."""
    world.gke.fates.append(Fate(zone=A, code="GCE_STOCKOUT", message="none in a", stuck=True))
    claim = world.claim("ws1", zones=[A, B], capacity_types=ON_DEMAND)

    made = await world.launched(claim)

    assert (made.zone, made.name, made.claim_name) == (B, "ws1--2", "ws1")
    assert world.clock.monotonic() < 60
    assert sorted(world.gke.pools) == ["ws1", "ws1--2"]
    assert [each.name for each in await world.provider.list()] == ["ws1--2"]
    another = await world.launched(world.claim("ws2", zones=[A, B], capacity_types=ON_DEMAND))
    assert (another.zone, another.name) == (B, "ws2")

    await world.tick(35 * 60)
    for _ in range(3):
        await world.provider.list()
        await world.tick(20)
    assert sorted(world.gke.pools) == ["ws1--2", "ws2"]


async def test_a_machine_that_comes_after_all_is_not_a_second_one(world: GcpWorld) -> None:
    """What was given up is deleted, whatever becomes of it, by whichever process."""
    fate = Fate(zone=A, code="GCE_STOCKOUT", message="none in a", stuck=True)
    world.gke.fates.append(fate)
    claim = world.claim("ws1", zones=[A, B], capacity_types=ON_DEMAND)
    for _ in range(2):
        await world.provider.create(claim)
        await world.tick(5)
        await world.tick(15)
    world.gke.relents("ws1")
    await world.restart()

    made = await world.launched(claim)

    assert made.name == "ws1--2"
    for _ in range(3):
        await world.provider.list()
        await world.tick(20)
    assert len(await world.machines()) == 1
    await world.gone(claim)
    assert await world.machines() == []


async def test_an_order_whose_answer_was_lost_is_looked_up_and_not_repeated(
    world: GcpWorld,
) -> None:
    claim = world.claim()
    await world.provider.create(world.claim("ws0"))
    world.lose_next_answer("create")
    with pytest.raises(CloudUnavailableError):
        await world.provider.create(claim)

    answer = await world.provider.create(claim)

    assert isinstance(answer, Pending)
    assert "PROVISIONING" in answer.message
    assert world.server.counts["CreateNodePool"] == 2


async def test_a_pool_that_google_is_making_is_not_deleted_all_the_time(world: GcpWorld) -> None:
    world.gke.create_seconds = 120
    claim = world.claim()
    await world.provider.create(claim)

    await world.gone(claim)

    assert world.server.counts["DeleteNodePool"] <= 120 / PATIENCE_SECONDS + 2


async def test_a_machine_is_found_before_its_pool_was_ever_read(world: GcpWorld) -> None:
    world.gke.create_seconds = 2
    await world.provider.create(world.claim("ws0"))
    claim = world.claim("ws1")
    await world.provider.create(claim)
    await world.tick(2)
    made = await world.provider.create(claim)

    assert isinstance(made, Instance)
    assert (await world.provider.get(made.provider_id)).claim_uid == made.claim_uid


async def test_a_claim_goes_with_all_its_pools(world: GcpWorld) -> None:
    world.gke.fates.append(Fate(zone=A, code="GCE_STOCKOUT", message="none in a", stuck=True))
    claim = world.claim("ws1", zones=[A, B], capacity_types=ON_DEMAND)
    await world.launched(claim)
    await world.tick(33 * 60)

    await world.gone(claim)

    assert await world.machines() == []


async def test_where_google_lets_itself_be_called_off_the_pool_is_gone_at_once(
    world: GcpWorld,
) -> None:
    world.gke.cancellable = True
    world.gke.fates.append(Fate(zone=A, code="GCE_STOCKOUT", message="none in a", stuck=True))
    claim = world.claim("ws1", zones=[A, B], capacity_types=ON_DEMAND)

    made = await world.launched(claim)

    assert (made.zone, made.name) == (B, "ws1")
    assert world.clock.monotonic() < 180
    assert world.server.counts["CancelOperation"] == 1
    assert len(await world.machines()) == 1


@pytest.mark.parametrize("cancellable", [True, False])
async def test_a_pool_without_a_node_is_given_up_in_the_end(
    world: GcpWorld, cancellable: bool
) -> None:
    world.gke.create_seconds = 2000
    world.gke.cancellable = cancellable
    claim = world.claim("ws1", zones=[A], capacity_types=ON_DEMAND)

    told = await outcome(world, claim)

    assert isinstance(told, InsufficientCapacityError)
    assert "no node after 6" in str(told)
    assert world.clock.monotonic() < 800


async def test_a_pool_that_vanishes_with_its_order_is_not_ordered_again_in_vain(
    world: GcpWorld,
) -> None:
    world.gke.fates.append(
        Fate(times=math.inf, zone=A, code="ZONE_RESOURCE_POOL_EXHAUSTED", message="none")
    )
    claim = world.claim("ws1", zones=[A, B], capacity_types=ON_DEMAND)
    await world.provider.create(claim)
    await world.tick(30)
    world.gke.forget("ws1")

    assert (await world.launched(claim)).zone == B


async def test_a_quota_stands_on_the_claim_and_is_not_asked_for_all_the_time(
    world: GcpWorld,
) -> None:
    refusal = Refusal("PERMISSION_DENIED", QUOTA.format(words=""))
    world.gke.fates.append(Fate(times=math.inf, capacity_type="on-demand", refusal=refusal))
    claim = world.claim(capacity_types=ON_DEMAND)

    for _ in range(10):
        with pytest.raises(CreateError) as raised:
            await world.provider.create(claim)
        await world.tick(10)

    assert raised.value.reason == "QuotaExceeded"
    assert raised.value.message.startswith("quota NVIDIA_L4_GPUS (limit 8, asked 1, missing 1)")
    assert world.server.counts["CreateNodePool"] == 1
    world.relent()
    await world.tick(TTL_SECONDS[Kind.QUOTA])
    assert isinstance(await outcome(world, claim), Instance)


async def test_a_quota_of_spot_leaves_on_demand(world: GcpWorld) -> None:
    refusal = Refusal("PERMISSION_DENIED", QUOTA.format(words=""))
    world.gke.fates.append(Fate(times=math.inf, capacity_type="spot", refusal=refusal))

    made = await world.launched(
        world.claim(capacity_types=[labels.CAPACITY_SPOT, labels.CAPACITY_ON_DEMAND])
    )

    assert made.capacity_type == labels.CAPACITY_ON_DEMAND
    assert world.server.counts["CreateNodePool"] == 2


@pytest.mark.parametrize(("concurrency", "refused"), [(1, 4), (3, 2), (5, 0)])
async def test_a_cluster_that_takes_few_operations_is_not_besieged(
    world: GcpWorld, concurrency: int, refused: int
) -> None:
    world.gke.concurrency = concurrency
    claims = [world.claim(f"ws{number}") for number in range(8)]

    made = await world.all_launched(claims)

    assert len({each.provider_id for each in made}) == 8
    assert world.server.counts["CreateNodePool"] <= 8 + refused
    serial = math.ceil(8 / concurrency) * world.gke.create_seconds
    assert world.clock.monotonic() <= serial + 8 * 7.0


async def test_the_line_is_told_to_who_waits(world: GcpWorld) -> None:
    world.gke.concurrency = 1
    await world.provider.create(world.claim("ws1"))
    for _ in range(2):
        answer = await world.provider.create(world.claim("ws2"))
        assert isinstance(answer, Pending)
        assert answer.reason == "Waiting"
    assert "node pool ws2 waits for its turn: 1 node pool operations" in answer.message


async def test_somebody_elses_upgrade_is_waited_for(world: GcpWorld) -> None:
    world.refuse("CLUSTER_ALREADY_HAS_OPERATION/reason", times=3)

    made = await outcome(world, world.claim())

    assert isinstance(made, Instance)
    assert world.clock.monotonic() >= 30
    assert world.server.counts["CreateNodePool"] == 4


async def test_a_reservation_is_taken_first(world: GcpWorld) -> None:
    world.compute.reserve("mine", B, "g2-standard-4", 1)
    world.kube.add(
        a_class(
            reservationAffinity={
                "consumeReservationType": "SPECIFIC_RESERVATION",
                "key": "compute.googleapis.com/reservation-name",
                "values": ["mine"],
            }
        )
    )

    made = await world.launched(of_class(world.claim("ws1")))

    assert (made.capacity_type, made.zone) == (labels.CAPACITY_RESERVED, B)
    affinity = world.gke.pools["ws1"].config.reservation_affinity
    assert list(affinity.values) == ["mine"]


async def test_gpus_that_are_cut_up_are_counted_so(world: GcpWorld) -> None:
    world.kube.add(a_class(gpuPartitionSize="1g.5gb"))
    claim = of_class(
        world.claim(instance_types=["a2-highgpu-1g"], requests={"nvidia.com/gpu": "7"})
    )

    made = await world.launched(claim)
    await world.restart()
    again = await world.launched(claim)

    assert made.capacity["nvidia.com/gpu"] == again.capacity["nvidia.com/gpu"] == "7"


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (None, "GCENodeClass default does not exist"),
        (a_class(networkConfig={"subnetwork": "x"}), "networkConfig.subnetwork"),
        (
            {
                **a_class(),
                "metadata": {
                    "name": "default",
                    "deletionTimestamp": "2026-01-01T00:00:00Z",
                    "finalizers": ["karpenter.k8s.gcp/termination"],
                },
            },
            "is being deleted",
        ),
    ],
)
async def test_case_05_a_class_that_is_not_ready_orders_nothing(
    world: GcpWorld, manifest: Manifest | None, told: str
) -> None:
    if manifest is not None:
        world.kube.add(manifest)

    with pytest.raises(NodeClassNotReadyError, match=told):
        await world.provider.create(of_class(world.claim()))

    assert world.calls.writes == 0


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        ({}, ""),
        ({"machine_type": "g2-standard-8"}, "InstanceTypeDrift"),
        ({"image_type": "UBUNTU_CONTAINERD"}, "ImageDrift"),
        ({"image_type": "cos_containerd"}, ""),
        ({"version": "1.32.9-gke.5"}, ""),
        ({"version": "1.31.1-gke.1"}, "KubernetesVersionDrift"),
        ({"version": "1.31.1-gke.1", "status": 6}, ""),
    ],
)
async def test_drift(world: GcpWorld, change: dict[str, Any], drift: str) -> None:
    claim = world.claim("ws1")
    made = await world.launched(claim)
    metadata = msgspec.structs.replace(
        claim.metadata, labels={labels.INSTANCE_TYPE_LABEL: made.instance_type}
    )
    pool = world.gke.pools["ws1"]
    for field, value in change.items():
        setattr(pool.config if hasattr(pool.config, field) else pool, field, value)
    await world.restart()

    assert await world.provider.is_drifted(claim.model_copy(update={"metadata": metadata})) == drift


async def test_a_machine_that_has_gone_is_listed_by_another_id_after_a_while(
    world: GcpWorld,
) -> None:
    """Garbage collection then lets the claim go, though the empty pool is still there."""
    made = await world.launched(world.claim("ws1"))
    world.gke.lose("ws1")
    await world.tick(10)

    (first,) = await world.provider.list()
    await world.tick(LOST_SECONDS)
    (later,) = await world.provider.list()

    assert (first.claim_name, first.provider_id) == ("ws1", "")
    assert later.claim_uid == made.claim_uid
    assert later.provider_id not in {"", made.provider_id}


async def test_a_claim_whose_name_gke_does_not_take(world: GcpWorld) -> None:
    claim = world.claim("my.claim." + "x" * 50)

    made = await world.launched(claim)

    assert made.claim_name == claim.metadata.name
    assert [each.claim_name for each in await world.provider.list()] == [claim.metadata.name]
    await world.gone(claim)


async def test_a_joining_node_tells_whose_it_is(world: GcpWorld) -> None:
    made = await world.launched(world.claim("ws1"))
    node = await world.node_of(made)

    assert world.provider.claim_of(node) == "ws1"
    assert node.metadata.labels["cloud.google.com/gke-accelerator"] == "nvidia-l4"
    assert any(taint.key == "nvidia.com/gpu" for taint in node.spec.taints)


async def test_a_class_is_resolved(world: GcpWorld) -> None:
    world.kube.add(a_class())
    node_class = await world.client.get(GCE_NODE_CLASSES, "default")

    assert node_class is not None
    assert (await world.provider.resolve(node_class)).ready


async def test_the_catalogue_is_whole_and_the_profile_is_served(world: GcpWorld) -> None:
    types = cloudproviders.instance_types("gcp")
    profile = cloudproviders.profile("gcp")

    assert len(types) == 32
    for each in types.values():
        assert each.gpu
        assert each.cpus
        assert each.labels["cloud.google.com/gke-accelerator"].startswith("nvidia-")
        assert {offering.capacity_type for offering in each.offerings} == {"on-demand", "spot"}
        prices = [offering.price for offering in each.offerings]
        assert prices == [None, None] or prices[0] > prices[1] > 0
    ref = profile.node_class_ref
    assert (ref.group, ref.kind) == tuple(world.provider.node_classes[0])
    assert not profile.requests_storage
    (need,) = profile.requirements_for("g2-standard-4")
    assert need["key"] in types["g2-standard-4"].labels


async def test_nodes_are_found_by_one_list(world: GcpWorld) -> None:
    await world.all_launched([world.claim(f"ws{number}") for number in range(3)])

    for node in (await world.kube.list(NODES)).items:
        assert node.metadata.labels["kaito.sh/provisioner"] == "gpu-provisioner"
