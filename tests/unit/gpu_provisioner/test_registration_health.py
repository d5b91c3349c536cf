"""NodeRegistrationHealthy of a pool, by the last four of its claims."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from gpu_provisioner.nodeclaim.step import Reason
from kube.meta import Condition, OwnerReference
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World

NUMBERS = itertools.count()
FAILED = Reason("RegistrationFailed", "it never joined")


def add_pool(world: World, uid: str = "pool-uid", **metadata: Any) -> None:
    world.kube.add(
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": "gpu", "uid": uid, **metadata},
            "spec": {
                "template": {"spec": {"nodeClassRef": objects.KAITO_NODE_CLASS, "requirements": []}}
            },
        }
    )


def pool(world: World) -> NodePool:
    found = world.stores.pools.get("gpu")
    assert found is not None
    return found


async def outcomes(world: World, told: str, *, owner: str = "pool-uid") -> Condition:
    """One claim each: S succeeds, F fails; what the pool says then."""
    for letter in told:
        claim = objects.claim(uid=f"claim-{next(NUMBERS)}")
        ref = OwnerReference(api_version="karpenter.sh/v1", kind="NodePool", name="gpu", uid=owner)
        metadata = msgspec.structs.replace(claim.metadata, owner_references=(ref,))
        owned = claim.model_copy(update={"metadata": metadata})
        world.health.record(owned, FAILED if letter == "F" else None)
        world.health.record(owned, FAILED if letter == "F" else None)  # the round was repeated
        await world.health.reconcile(pool(world))
    return pool(world).condition("NodeRegistrationHealthy")


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("F", "Unknown"),
        ("S", "True"),
        ("SF", "True"),
        ("FF", "False"),
        ("SFSF", "False"),
        ("FFS", "False"),
        ("FFSS", "False"),
        ("FFSSS", "True"),
        ("FSSSF", "True"),
    ],
)
async def test_two_failures_of_four_are_too_many(world: World, told: str, status: str) -> None:
    add_pool(world)

    said = await outcomes(world, told)

    assert said.status == status
    if status == "False":
        assert (said.reason, said.message) == FAILED


async def test_a_pool_is_not_written_when_it_says_so_already(world: World) -> None:
    add_pool(world)
    await outcomes(world, "FF")
    written = world.kube.writes

    await outcomes(world, "F")

    assert world.kube.writes == written


async def test_a_restart_knows_what_the_condition_knows(world: World) -> None:
    add_pool(world)
    await outcomes(world, "FF")
    world.restart()

    assert (await outcomes(world, "S")).status == "False"
    assert (await outcomes(world, "SS")).status == "True"


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        pytest.param({}, "another-uid", id="of a pool that is gone"),
        pytest.param(
            {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]},
            "pool-uid",
            id="of a pool on its way out",
        ),
    ],
)
async def test_other_claims_say_nothing_of_the_pool(
    world: World, metadata: dict[str, Any], owner: str
) -> None:
    add_pool(world, **metadata)

    assert (await outcomes(world, "FFFF", owner=owner)).reason == "AwaitingReconciliation"
    assert world.stores.pools.get("gpu") == pool(world)


async def test_a_pool_that_was_changed_starts_anew(world: World) -> None:
    add_pool(world)
    await outcomes(world, "FF")
    world.kube.change(NODE_POOLS, "gpu", {"metadata": {"generation": 2}})

    await world.health.reconcile(pool(world))

    said = pool(world).condition("NodeRegistrationHealthy")
    assert (said.status, said.observed_generation) == ("Unknown", 2)
    assert (await outcomes(world, "F")).status == "Unknown"


async def test_a_claims_life_tells_its_pool(world: World) -> None:
    """One that is never launched, one that never joins; then one that does."""
    add_pool(world)
    owner = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "gpu", "uid": "pool-uid"}
    world.timings = replace(world.timings, registration_timeout=60)
    for name in ("a", "b", "c"):
        manifest = objects.claim_manifest(name)
        manifest["metadata"]["ownerReferences"] = [owner]
        world.kube.add(manifest)
        await world.reconcile(name)
    world.kube.add(objects.node_manifest(world.claim("c").status.provider_id, "c"))
    world.clock.advance(60)

    await world.reconcile("a")
    await world.health.reconcile(pool(world))
    assert pool(world).condition("NodeRegistrationHealthy").status == "Unknown"
    await world.reconcile("b")
    await world.health.reconcile(pool(world))
    assert pool(world).condition("NodeRegistrationHealthy").reason == "RegistrationFailed"
    await world.reconcile("c")
    await world.health.reconcile(pool(world))
    assert pool(world).condition("NodeRegistrationHealthy").status == "False"
