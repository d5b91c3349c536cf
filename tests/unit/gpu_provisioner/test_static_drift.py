"""Static pools replace what has drifted: one for one, inside budgets, the successor first."""

from __future__ import annotations

from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.objects import NODES
from tests.fakes import objects
from tests.unit.gpu_provisioner.pool_world import PoolWorld


@pytest.fixture
def world() -> PoolWorld:
    return PoolWorld()


async def test_case_66_drifted_nodes_are_replaced_one_by_one(world: PoolWorld) -> None:
    """The successor first; the old one goes once it can take work."""
    names = await world.add_filled(replicas=3)
    old = {claim.metadata.uid for claim in world.claims_of()}
    await world.drifts(*names)
    replaced = 0
    for _ in range(30):
        await world.reconcile_pool()
        working = sum(
            claim.is_true("Initialized") for claim in world.claims_of() if not claim.deleting
        )
        assert working >= 3
        assert len(world.alive()) <= 4
        ending = [claim.metadata.name for claim in world.claims_of() if claim.deleting]
        if not ending:
            await world.boot()
        for name in ending:
            world.vanish(name)
            world.kube.vanish(NODES, name)
            replaced += 1
    assert replaced == 3
    assert not old & {claim.metadata.uid for claim in world.claims_of()}
    assert len(world.alive()) == 3
    for name in names:
        told = [each.reason for each in world.events.told if each.name == name]
        assert told.index("DisruptionLaunching") < told.index("DisruptionTerminating")


@pytest.mark.parametrize(
    ("spec", "begun"),
    [
        pytest.param({"disruption": {"budgets": [{"nodes": "2"}]}}, 2, id="case_66 budget 2"),
        pytest.param({"disruption": {"budgets": [{"nodes": "50%"}]}}, 2, id="case_66 half of 3"),
        pytest.param({"disruption": {"budgets": [{"nodes": "0"}]}}, 0, id="case_66 budget 0"),
        pytest.param(
            {"disruption": {"budgets": [{"nodes": "0", "reasons": ["Empty"]}]}},
            3,
            id="case_66 budget of another reason",
        ),
        pytest.param(
            {
                "limits": {"nodes": "4"},
                "disruption": {"budgets": [{"nodes": "100%"}]},
            },
            1,
            id="case_66 room for one",
        ),
        pytest.param({"limits": {"nodes": "3"}}, 0, id="case_66 no room"),
    ],
)
async def test_budgets_and_limits_bound_what_is_begun(
    world: PoolWorld, spec: dict[str, Any], begun: int
) -> None:
    names = await world.add_filled(replicas=3, **spec)
    await world.drifts(*names)
    await world.reconcile_static()
    await world.reconcile_static()
    await world.reconcile_static()
    marked = [each for each in world.claims_of() if each.is_true("DisruptionReason")]
    assert len(marked) == begun
    assert len(world.alive()) == 3 + begun
    assert ("DisruptionBlocked" in world.events.reasons()) == (begun == 0)


async def test_a_node_that_is_not_ready_uses_the_budget_up(world: PoolWorld) -> None:
    names = await world.add_filled(replicas=3)
    await world.drifts(*names)
    not_ready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    world.kube.change(NODES, names[0], not_ready)
    await world.reconcile_static()
    assert not any(each.is_true("DisruptionReason") for each in world.claims_of())


@pytest.mark.parametrize("grace", [None, "1h"])
async def test_a_pod_that_is_not_to_be_disrupted_spares_its_node(
    world: PoolWorld, grace: str | None
) -> None:
    """Unless a grace period says how long it may ask for that."""
    template = {} if grace is None else {"terminationGracePeriod": grace}
    [name] = await world.add_filled(replicas=1, template=template)
    annotations = {"karpenter.sh/do-not-disrupt": "true"}
    world.kube.add(objects.pod_manifest("job", name, metadata={"annotations": annotations}))
    await world.drifts(name)
    await world.reconcile_static()
    assert world.claim(name).is_true("DisruptionReason") == (grace is not None)


async def test_a_drift_that_is_undone_keeps_the_old_node(world: PoolWorld) -> None:
    names = await world.add_filled(replicas=2)
    await world.drifts(names[0])
    await world.reconcile_static()
    await world.reconcile_static()
    assert len(world.alive()) == 3
    world.kube.change(
        NODE_CLAIMS,
        names[0],
        {
            "status": {
                "conditions": [
                    each
                    for each in world.claim(names[0]).status.to_json()["conditions"]
                    if each["type"] != "Drifted"
                ]
            }
        },
    )
    await world.reconcile_static()
    await world.reconcile_static()
    assert world.alive() == names
    assert not world.claim(names[0]).is_true("DisruptionReason")
