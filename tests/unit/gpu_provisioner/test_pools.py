"""What a pool says of itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY as _DEFAULT

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from gpu_provisioner.managed import Managed
from gpu_provisioner.nodepool import status
from gpu_provisioner.nodepool.hash import stamp
from kube.errors import ConflictError
from kube.meta import Manifest
from kube.metrics import REGISTRY
from tests.fakes.pools import AKS, AKS_REF, pool_manifest
from tests.unit.gpu_provisioner.pool_world import PoolWorld

HASH = "karpenter.sh/nodepool-hash"
VERSION = "karpenter.sh/nodepool-hash-version"


@pytest.fixture
def world() -> PoolWorld:
    return PoolWorld()


def _ready(status: str, **more: Any) -> Manifest:
    return {"status": {"conditions": [{"type": "Ready", "status": status, **more}]}}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        pytest.param(None, ("False", "NodeClassNotFound"), id="case_68 not found"),
        pytest.param(
            {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
            ("False", "NodeClassTerminating"),
            id="case_68 being deleted",
        ),
        pytest.param({}, ("False", "NodeClassReadinessUnknown"), id="case_68 never judged"),
        pytest.param(
            _ready("Unknown"), ("False", "NodeClassReadinessUnknown"), id="case_68 unknown"
        ),
        pytest.param(
            {**_ready("True", observedGeneration=1), "metadata": {"generation": 2}},
            ("False", "NodeClassReadinessUnknown"),
            id="case_68 judged before its last edit",
        ),
        pytest.param(
            _ready("False", reason="SubnetsNotFound", message="no subnet"),
            ("False", "SubnetsNotFound"),
            id="case_68 not ready",
        ),
        pytest.param(_ready("True"), ("True", "NodeClassReady"), id="case_68 ready"),
    ],
)
async def test_the_state_of_the_class_is_relayed(
    world: PoolWorld, state: Manifest | None, said: tuple[str, str]
) -> None:
    if state is not None:
        world.add_class()
        world.kube.change(AKS, "gpu", state)
    world.add_pool(node_class_ref=AKS_REF)
    await world.reconcile_status()
    condition = world.said("NodeClassReady")
    assert (condition.status, condition.reason) == said
    assert world.said("Ready").status == said[0]
    assert world.pool().ready == (said[0] == "True")


async def test_a_pool_tells_what_its_class_lacks(world: PoolWorld) -> None:
    why = {"reason": "SubnetsNotFound", "message": "no subnet by that tag"}
    conditions = [
        {"type": "SubnetsReady", "status": "False", **why},
        {"type": "Ready", "status": "False", "reason": "R", "message": "SubnetsReady=False"},
    ]
    world.add_class()
    world.kube.change(AKS, "gpu", {"status": {"conditions": conditions}})
    world.add_pool(node_class_ref=AKS_REF)
    await world.reconcile_status()
    said = world.said("NodeClassReady").message
    assert said == "SubnetsReady=False (SubnetsNotFound: no subnet by that tag)"


async def test_case_68_a_class_that_is_a_mere_name_is_ready(world: PoolWorld) -> None:
    world.add_pool()
    await world.reconcile_status()
    assert world.said("NodeClassReady").status == "True"


@pytest.mark.parametrize(
    ("name", "spec", "told"),
    [
        pytest.param(
            "pool",
            {
                "disruption": {
                    "budgets": [{"nodes": "1", "schedule": "61 * * * *", "duration": "1h"}]
                }
            },
            "budgets[0].schedule",
            id="a schedule that is none",
        ),
        pytest.param("p" * 64, {}, "more than 63 characters", id="a name that is no label"),
        pytest.param("pool", {"limits": {"cpu": "1"}}, "limits.nodes", id="an older CRD's limits"),
    ],
)
async def test_what_the_api_server_let_pass_is_found(
    world: PoolWorld, name: str, spec: dict[str, Any], told: str
) -> None:
    world.add_pool(name, **spec)
    await world.reconcile_status(name)
    said = world.said("ValidationSucceeded", name)
    assert (said.status, said.reason) == ("False", "NodePoolValidationFailed")
    assert told in said.message
    assert world.said("Ready", name).status == "False"


async def test_a_sound_pool_is_valid_whatever_it_sets(world: PoolWorld) -> None:
    world.add_pool(
        limits={"nodes": "5"},
        disruption={"budgets": [{"nodes": "1", "schedule": "@daily", "duration": "8h"}]},
        template={"taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]},
    )
    await world.reconcile_status()
    assert world.said("ValidationSucceeded").message == ""
    assert world.said("Ready").status == "True"


async def test_ready_is_dated_by_its_own_changes_not_by_edits(world: PoolWorld) -> None:
    world.add_pool(replicas=0)
    await world.reconcile_status()
    since = world.said("Ready").last_transition_time
    world.clock.advance(60)
    world.scale(1)
    assert not world.pool().ready
    await world.reconcile_status()
    assert world.pool().ready
    assert world.said("Ready").last_transition_time == since
    assert world.said("Ready").observed_generation == 2


async def test_nodes_and_resources_are_those_of_the_machines(world: PoolWorld) -> None:
    await world.add_filled(replicas=2)
    world.kube.change(NODE_CLAIMS, world.alive()[0], {"status": {"capacity": {"memory": "512Mi"}}})
    await world.reconcile_status()
    status = world.pool().status
    assert status.nodes == 2
    assert status.resources == {
        "nodes": "2",
        "cpu": "16",
        "nvidia.com/gpu": "2",
        "memory": "512Mi",
    }
    world.scale(0)
    await world.reconcile_pool()
    await world.reconcile_status()
    assert world.pool().status.nodes == 0
    assert world.pool().status.resources == {"nodes": "0"}


async def test_limits_and_usage_are_measured_as_long_as_the_pool_lives(world: PoolWorld) -> None:
    assert REGISTRY is not _DEFAULT
    world.add_pool("measured", replicas=0, limits={"nodes": "4"})
    await world.reconcile_status("measured")
    labels = {"nodepool": "measured", "resource_type": "nodes"}
    assert REGISTRY.get_sample_value("karpenter_nodepools_limit", labels) == 4.0
    assert REGISTRY.get_sample_value("karpenter_nodepools_usage", labels) == 0.0
    status.forget(world.pool("measured"), None)
    assert REGISTRY.get_sample_value("karpenter_nodepools_limit", labels) is None


async def test_pool_and_claims_carry_the_hash_of_the_template(world: PoolWorld) -> None:
    await world.add_filled(replicas=1)
    carried = world.pool().metadata.annotations
    assert carried == {HASH: stamp(world.pool()).hash, VERSION: "kaito-v1"}
    [claim] = world.claims_of()
    assert carried.items() <= claim.metadata.annotations.items()


async def test_case_61_claims_of_another_provisioner_are_stamped_anew(world: PoolWorld) -> None:
    """Its hash says nothing to us. A claim that had drifted then goes on to differ."""
    kept, drifted = await world.add_filled(replicas=2)
    await world.drifts(drifted)
    for name in (kept, drifted):
        foreign = {"metadata": {"annotations": {HASH: "4711", VERSION: "v3"}}}
        world.kube.change(NODE_CLAIMS, name, foreign)
    await world.reconcile_status()
    now = stamp(world.pool()).annotations
    assert now.items() <= world.claim(kept).metadata.annotations.items()
    assert world.claim(drifted).metadata.annotations[VERSION] == "kaito-v1"
    assert world.claim(drifted).metadata.annotations[HASH] == "4711"


async def test_an_edit_of_the_template_leaves_the_claims_stamps(world: PoolWorld) -> None:
    [name] = await world.add_filled(replicas=1)
    before = world.claim(name).metadata.annotations[HASH]
    world.edit_pool({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}})
    await world.reconcile_status()
    assert world.claim(name).metadata.annotations[HASH] == before
    assert world.pool().metadata.annotations[HASH] != before


async def test_nothing_is_written_when_nothing_changes(world: PoolWorld) -> None:
    await world.add_filled(replicas=1)
    world.kube.refuse_next("patch", ConflictError(409, "Conflict", "nobody asked for this"))
    world.clock.advance(60)
    await world.reconcile_status()


async def test_a_pool_that_is_ending_is_left_alone(world: PoolWorld) -> None:
    world.add_pool()
    ending = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    world.kube.change(NODE_POOLS, "pool", ending)
    await world.reconcile_status()
    assert world.kube.writes == 0


def _hash(**given: Any) -> str:
    return stamp(NODE_POOLS.decode(msgspec.json.encode(pool_manifest(**given)))).hash


TAINTS = [
    {"key": "a", "effect": "NoSchedule"},
    {"key": "b", "effect": "NoSchedule"},
]


def test_the_hash_knows_no_order_and_no_requirements() -> None:
    assert _hash(template={"taints": TAINTS}) == _hash(template={"taints": TAINTS[::-1]})
    assert _hash() == _hash(requirements=[])
    assert _hash() == _hash(replicas=7, limits={"nodes": "1"})
    assert _hash() == _hash(template={"taints": []}, labels={})


@pytest.mark.parametrize(("ref", "ours"), [(AKS_REF, True), ({**AKS_REF, "kind": "X"}, False)])
def test_pools_are_managed_by_their_class_alone(ref: dict[str, str], ours: bool) -> None:
    world = PoolWorld()
    manifest = pool_manifest(node_class_ref=ref)
    manifest["metadata"]["labels"] = {"kaito.sh/workspace": "w"}
    pool = NODE_POOLS.decode(msgspec.json.encode(manifest))
    assert Managed(world.cloud.node_classes).pool(pool) == ours
