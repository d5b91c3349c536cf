"""Static pools: as many claims as replicas, never more for a moment, replaced one for one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from gpu_provisioner import indexes
from kube.errors import ConflictError, InvalidError
from kube.store import Store
from tests.fakes import objects
from tests.unit.gpu_provisioner.pool_world import PoolWorld


@pytest.fixture
def world() -> PoolWorld:
    return PoolWorld()


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        pytest.param([3], 3, id="case_64 up to replicas"),
        pytest.param([1, 4], 4, id="case_64 scaled up"),
        pytest.param([4, 1], 1, id="case_64 scaled down"),
        pytest.param([3, 0], 0, id="case_64 down to nothing"),
        pytest.param([0], 0, id="case_64 nothing wanted"),
    ],
)
async def test_a_pool_has_as_many_claims_as_replicas(
    world: PoolWorld, steps: Sequence[int], left: int
) -> None:
    world.add_pool(replicas=0)
    for replicas in steps:
        world.scale(replicas)
        await world.reconcile_pool()
    assert len(world.alive()) == left
    assert world.said("ReplicasProvisioned").status == "True"


async def test_a_claim_is_what_the_template_says(world: PoolWorld) -> None:
    world.add_pool(
        replicas=1,
        labels={"apps": "llm"},
        annotations={"kaito.sh/node-image-family": "azurelinux"},
        requirements=[
            {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
            {"key": "example.com/team", "operator": "In", "values": ["a"]},
        ],
        template={
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            "terminationGracePeriod": "1h",
        },
    )
    await world.reconcile_pool()
    [name] = world.alive()
    made = world.kube.manifest(NODE_CLAIMS, name)
    assert made is not None
    own = {
        "apps": "llm",
        "karpenter.sh/nodepool": "pool",
        "kaito.sh/kaitonodeclass": "default",
    }
    assert made["metadata"]["labels"] == {**own, "example.com/team": "a"}
    pool = world.pool().metadata
    assert made["metadata"]["annotations"] == {
        "kaito.sh/node-image-family": "azurelinux",
        **pool.annotations,
    }
    assert made["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "name": "pool",
            "uid": pool.uid,
            "blockOwnerDeletion": True,
        }
    ]
    asked = {each["key"]: each["values"] for each in made["spec"]["requirements"]}
    assert asked == {
        "kubernetes.io/os": ["linux"],
        "example.com/team": ["a"],
        **{key: [value] for key, value in own.items()},
    }
    assert made["spec"]["taints"] == [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]
    assert made["spec"]["terminationGracePeriod"] == "1h"
    assert made["spec"]["expireAfter"] == "Never"
    assert "resources" not in made["spec"]


async def test_names_are_labels_whatever_the_pool_is_called(world: PoolWorld) -> None:
    name = "a" * 51 + "-" + "b" * 11
    world.add_pool(name, replicas=1)
    await world.reconcile_pool(name)
    [claim] = world.alive(name)
    assert len(claim) <= 63
    assert claim.startswith("a" * 51 + "-")


async def test_case_64_a_cache_that_is_behind_makes_nothing_twice(world: PoolWorld) -> None:
    world.add_pool(replicas=3)
    await world.reconcile_status()
    behind = replace(world.stores, claims=Store(indexes.OF_CLAIMS))
    for _ in range(3):
        await world.static(behind).reconcile(world.pool())
    assert len(world.alive()) == 3


async def test_case_64_two_provisioners_make_the_same_claims(world: PoolWorld) -> None:
    """Both have looked before either has written."""
    world.add_pool(replicas=3)
    await world.reconcile_status()
    one, other = world.static(), world.static()
    pool = world.pool()
    done = await asyncio.gather(one.reconcile(pool), other.reconcile(pool), return_exceptions=True)
    assert len(world.alive()) == 3
    assert len(done) == 2


async def test_case_64_a_cache_that_is_behind_deletes_nothing_twice(world: PoolWorld) -> None:
    await world.add_filled(replicas=4)
    behind = replace(world.stores, claims=Store(indexes.OF_CLAIMS))
    for claim in world.claims_of():
        behind.claims.put(claim)
    world.scale(3)
    await world.reconcile_status()
    for _ in range(3):
        await world.static(behind).reconcile(world.pool())
    assert len(world.alive()) == 3


async def test_case_64_an_older_word_on_replicas_is_not_acted_on(world: PoolWorld) -> None:
    world.add_pool(replicas=5)
    await world.reconcile_status()
    older = world.pool()
    world.scale(1)
    await world.reconcile_status()
    await world.static().reconcile(older)
    assert len(world.alive()) == 1


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("scale"), st.integers(0, 4)),
        st.tuples(st.just("reconcile"), st.booleans()),
        st.tuples(st.just("ends"), st.integers(0, 5)),
        st.tuples(st.just("gone"), st.integers(0, 5)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(_STEPS)
def test_case_64_whatever_happens_in_between_there_are_never_too_many(
    steps: list[tuple[str, Any]],
) -> None:
    asyncio.run(_story(steps))


async def _story(steps: list[tuple[str, Any]]) -> None:
    """`reconcile` with True is from a cache that has seen nothing since it was made."""
    world = PoolWorld()
    world.add_pool(replicas=2)
    await world.reconcile_status()
    behind = replace(world.stores, claims=Store(indexes.OF_CLAIMS))
    for what, how in steps:
        if what == "scale":
            world.scale(how)
            await world.reconcile_status()
        elif what == "reconcile":
            before = len(world.alive())
            await world.static(behind if how else None).reconcile(world.pool())
            assert len(world.alive()) <= max(before, world.pool().spec.replicas or 0)
        elif claims := sorted(world.claims_of(), key=lambda each: each.metadata.name):
            name = claims[how % len(claims)].metadata.name
            world.sets_out(name) if what == "ends" else world.vanish(name)
    await world.reconcile_static()
    assert len(world.alive()) == world.pool().spec.replicas


async def test_a_claim_that_ends_is_replaced_at_once(world: PoolWorld) -> None:
    names = await world.add_filled(replicas=2)
    world.sets_out(names[0])
    await world.reconcile_static()
    assert len(world.claims_of()) == 3
    assert len(world.alive()) == 2


@pytest.mark.parametrize("limit", ["2", "2000m"])
async def test_case_64_limits_nodes_is_not_passed(world: PoolWorld, limit: str) -> None:
    world.add_pool(replicas=3, limits={"nodes": limit})
    await world.reconcile_status()
    result = await world.reconcile_static()
    assert len(world.claims_of()) == 2
    said = world.said("ReplicasProvisioned")
    assert (said.status, said.reason) == ("False", "LimitReached")
    assert result.requeue_after == 30.0


async def test_case_64_a_node_that_is_ending_counts_for_the_limit(world: PoolWorld) -> None:
    """It costs until it is gone."""
    names = await world.add_filled(replicas=2, limits={"nodes": "2"})
    world.sets_out(names[0])
    await world.reconcile_static()
    assert len(world.claims_of()) == 2
    world.vanish(names[0])
    await world.reconcile_static()
    assert len(world.alive()) == 2


async def test_case_64_an_unready_pool_makes_nothing(world: PoolWorld) -> None:
    missing = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "gone"}
    world.add_pool(replicas=3, node_class_ref=missing)
    await world.reconcile_pool()
    assert world.claims_of() == []
    said = world.said("ReplicasProvisioned")
    assert (said.status, said.reason) == ("False", "NodePoolNotReady")


async def test_an_unready_pool_can_still_be_scaled_down(world: PoolWorld) -> None:
    world.add_class()
    await world.reconcile_class()
    ref = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "gpu"}
    world.add_pool(replicas=3, node_class_ref=ref)
    await world.reconcile_pool()
    world.kube.vanish(_classes(world), "gpu")
    world.scale(1)
    await world.reconcile_pool()
    assert world.said("Ready").status == "False"
    assert len(world.alive()) == 1


def _classes(world: PoolWorld) -> Any:
    return world.cloud.node_class_resources[0]


async def test_a_pool_that_nobody_has_judged_waits_in_silence(world: PoolWorld) -> None:
    world.add_pool(replicas=3)
    await world.reconcile_static()
    assert world.claims_of() == []
    assert world.events.told == []


async def test_a_pool_that_is_being_deleted_makes_nothing(world: PoolWorld) -> None:
    names = await world.add_filled(replicas=2)
    world.vanish(names[0])
    world.kube.change(
        NODE_POOLS, "pool", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    )
    await world.reconcile_pool()
    assert len(world.alive()) == 1


async def test_claims_that_only_carry_the_label_are_nobodys_business(world: PoolWorld) -> None:
    """KAITO labels its own claims `kaito`; a pool of that name must not count or delete them."""
    for name in ("ws1", "ws2", "ws3"):
        world.add_claim(name, labels={"karpenter.sh/nodepool": "kaito"})
    world.add_pool("kaito", replicas=1)
    await world.reconcile_pool("kaito")
    assert len(world.alive("kaito")) == 4
    world.scale(0, "kaito")
    await world.reconcile_pool("kaito")
    assert world.alive("kaito") == ["ws1", "ws2", "ws3"]


async def test_a_pool_without_replicas_is_told_that_it_waits_in_vain(world: PoolWorld) -> None:
    world.add_pool(replicas=None)
    await world.reconcile_pool()
    await world.reconcile_pool()
    assert world.claims_of() == []
    assert world.said("ReplicasProvisioned").reason == "NotStatic"
    assert world.said("Ready").status == "True"
    assert world.events.reasons() == ["NotStatic"]


async def test_nothing_is_written_when_nothing_changes(world: PoolWorld) -> None:
    await world.add_filled(replicas=2)
    await world.reconcile_pool()
    world.kube.refuse_next("patch", ConflictError(409, "Conflict", "nobody asked for this"))
    world.clock.advance(3600)
    await world.reconcile_pool()


async def test_a_claim_that_the_api_server_refuses_is_told_of(world: PoolWorld) -> None:
    world.add_pool(replicas=1)
    await world.reconcile_status()
    world.kube.refuse_next("create", InvalidError(422, "Invalid", "too many requirements"))
    with pytest.raises(ExceptionGroup):
        await world.reconcile_static()
    said = world.said("ReplicasProvisioned")
    assert (said.status, said.reason) == ("False", "CreateRefused")
    assert "too many requirements" in said.message


async def _given_up(world: PoolWorld) -> None:
    """What the lifecycle does to every claim that cannot be had, and the informer tells."""
    for claim in world.claims_of():
        told = claim.with_condition(
            "Launched", "Unknown", "InsufficientCapacityError", "no H100 in zone 1", now=world.now()
        )
        world.vanish(claim.metadata.name)
        world.setbacks.claim_changed(told, None)


async def test_claims_that_cannot_be_had_are_asked_for_ever_less_often(world: PoolWorld) -> None:
    world.add_pool(replicas=2)
    pauses = []
    for _ in range(8):
        await world.reconcile_pool()
        assert len(world.claims_of()) == 2
        await _given_up(world)
        result = await world.reconcile_pool()
        assert world.claims_of() == []
        assert result.requeue_after is not None
        pauses.append(result.requeue_after)
        world.clock.advance(result.requeue_after)
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]


async def test_a_pause_is_told_with_its_reason_and_its_end(world: PoolWorld) -> None:
    world.add_pool(replicas=2)
    await world.reconcile_pool()
    await _given_up(world)
    await world.reconcile_pool()
    await world.reconcile_pool()
    said = world.said("ReplicasProvisioned")
    assert (said.status, said.reason) == ("False", "BackingOff")
    assert said.message == (
        "0 of 2 nodes: claims were given up (1 times in a row);"
        " next try at 2026-01-01T00:00:10Z; the last one for"
        " InsufficientCapacityError: no H100 in zone 1"
    )
    assert world.events.reasons() == ["BackingOff"]


async def test_an_edit_of_the_pool_ends_the_pause(world: PoolWorld) -> None:
    world.add_pool(replicas=2)
    await world.reconcile_pool()
    await _given_up(world)
    before = world.pool()
    world.scale(3)
    world.setbacks.pool_changed(before, world.pool())
    await world.reconcile_pool()
    assert len(world.alive()) == 3


async def test_scaling_down_is_no_setback(world: PoolWorld) -> None:
    world.add_pool(replicas=2)
    await world.reconcile_pool()
    old = {claim.metadata.name: claim for claim in world.claims_of()}
    world.scale(0)
    await world.reconcile_pool()
    for claim in old.values():
        world.setbacks.claim_changed(claim, None)
    world.scale(2)
    await world.reconcile_pool()
    assert len(world.alive()) == 2


async def test_case_65_those_that_are_missed_least_go_first(world: PoolWorld) -> None:
    names = await world.add_filled(replicas=4)
    cheap, dear, asked, empty = names
    pods = {cheap: {"cheap": "-50000000"}, dear: {"dear": "0", "dear-2": "0"}, asked: {"a": "0"}}
    for node, costs in pods.items():
        for pod, cost in costs.items():
            annotations = {"controller.kubernetes.io/pod-deletion-cost": cost}
            if node == asked:
                annotations["karpenter.sh/do-not-disrupt"] = "true"
            world.kube.add(objects.pod_manifest(pod, node, metadata={"annotations": annotations}))
    world.kube.add(objects.pod_manifest("agent", empty, owner="DaemonSet"))
    world.scale(5)
    await world.reconcile_pool()
    [unlaunched] = set(world.alive()) - set(names)
    gone = []
    for replicas in (4, 3, 2, 1, 0):
        before = set(world.alive())
        world.scale(replicas)
        await world.reconcile_pool()
        gone += sorted(before - set(world.alive()))
    assert gone == [unlaunched, empty, cheap, dear, asked]
