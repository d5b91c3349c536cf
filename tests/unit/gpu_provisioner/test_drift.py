"""Drifted: set for each of its causes, and cleared when that is undone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from cloudproviders.instancetype import InstanceType, Offering
from kube.errors import ConflictError
from kube.meta import Manifest
from tests.fakes.pools import AKS_REF
from tests.unit.gpu_provisioner.pool_world import PoolWorld

HASH = "karpenter.sh/nodepool-hash"
VERSION = "karpenter.sh/nodepool-hash-version"
TYPE = "node.kubernetes.io/instance-type"
SOLD = InstanceType(
    name="fake-gpu-1", offerings=(Offering(zone="fake-a", capacity_type="on-demand"),)
)


@pytest.fixture
def world() -> PoolWorld:
    return PoolWorld()


async def _one(world: PoolWorld, **given: Any) -> str:
    [name] = await world.add_filled(replicas=1, **given)
    await world.reconcile_drift(name)
    assert world.condition("Drifted", name).status == "Unknown"
    return name


async def _drifted(world: PoolWorld, name: str) -> str:
    """Its reason, "" where there is no such condition."""
    await world.reconcile_drift(name)
    said = world.condition("Drifted", name)
    return said.reason if said.status == "True" else ""


def _template(metadata: Manifest | None = None, **spec: Any) -> Manifest:
    return {"spec": {"template": {"metadata": metadata or {}, "spec": spec}}}


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(_template({"annotations": {"a": "b"}}), id="case_61 annotations"),
        pytest.param(_template({"labels": {"a": "b"}}), id="case_61 labels"),
        pytest.param(_template(taints=[{"key": "a", "effect": "NoSchedule"}]), id="case_61 taints"),
        pytest.param(
            _template(startupTaints=[{"key": "a", "effect": "NoSchedule"}]),
            id="case_61 startupTaints",
        ),
        pytest.param(_template(nodeClassRef={"name": "other"}), id="case_61 nodeClassRef name"),
        pytest.param(_template(expireAfter="1h"), id="case_61 expireAfter"),
        pytest.param(_template(terminationGracePeriod="1h"), id="case_61 terminationGracePeriod"),
    ],
)
async def test_each_field_of_the_template_makes_claims_drift(
    world: PoolWorld, edit: Manifest
) -> None:
    name = await _one(world)
    before = world.kube.manifest(NODE_POOLS, "pool")
    assert before is not None
    world.edit_pool(edit)
    await world.reconcile_status()
    assert await _drifted(world, name) == "NodePoolDrifted"
    world.kube.vanish(NODE_POOLS, "pool")
    world.kube.add(before)
    await world.reconcile_status()
    assert await _drifted(world, name) == ""
    assert "Drifted" not in {each.type for each in world.claim(name).status.conditions}


@pytest.mark.parametrize("kind", [NODE_POOLS, NODE_CLAIMS])
@pytest.mark.parametrize("missing", [HASH, VERSION])
async def test_case_61_a_stamp_that_is_missing_says_nothing(
    world: PoolWorld, kind: Any, missing: str
) -> None:
    name = await _one(world)
    world.edit_pool(_template({"labels": {"a": "b"}}))
    await world.reconcile_status()
    target = name if kind is NODE_CLAIMS else "pool"
    world.kube.change(kind, target, {"metadata": {"annotations": {missing: None}}})
    assert await _drifted(world, name) == ""


async def test_case_61_a_stamp_of_another_version_says_nothing(world: PoolWorld) -> None:
    name = await _one(world)
    foreign = {"metadata": {"annotations": {HASH: "4711", VERSION: "v3"}}}
    world.kube.change(NODE_CLAIMS, name, foreign)
    assert await _drifted(world, name) == ""


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        pytest.param(
            {"key": TYPE, "operator": "In", "values": ["fake-gpu-1", "fake-gpu-2"]},
            "",
            id="wider",
        ),
        pytest.param(
            {"key": TYPE, "operator": "In", "values": ["fake-gpu-2"]},
            "RequirementsDrifted",
            id="case_61 another type",
        ),
        pytest.param(
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]},
            "RequirementsDrifted",
            id="case_61 another capacity type",
        ),
        pytest.param(
            {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["r"]},
            "",
            id="well known, and not known of this node",
        ),
        pytest.param(
            {"key": "example.com/team", "operator": "In", "values": ["a"]},
            "RequirementsDrifted",
            id="case_61 a label that the node lacks",
        ),
        pytest.param(
            {"key": "example.com/team", "operator": "DoesNotExist"}, "", id="and must lack"
        ),
    ],
)
async def test_requirements_are_compared_with_what_the_node_is(
    world: PoolWorld, requirement: Manifest, reason: str
) -> None:
    name = await _one(world)
    world.edit_pool(_template(requirements=[requirement]))
    await world.reconcile_status()
    assert await _drifted(world, name) == reason


async def test_a_requirement_that_only_asks_for_a_label_is_met_by_its_own_claims(
    world: PoolWorld,
) -> None:
    await _one(world, requirements=[{"key": "example.com/team", "operator": "Exists"}])


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        pytest.param([SOLD], "", id="still sold"),
        pytest.param([replace(SOLD, name="x")], "InstanceTypeNotFound", id="case_61 unknown"),
        pytest.param(
            [replace(SOLD, offerings=(Offering(zone="fake-b", capacity_type="on-demand"),))],
            "InstanceTypeNotFound",
            id="case_61 not in this zone",
        ),
        pytest.param(
            [replace(SOLD, offerings=(Offering(zone="fake-a", capacity_type="spot"),))],
            "InstanceTypeNotFound",
            id="case_61 not bought like this",
        ),
        pytest.param(
            [
                replace(
                    SOLD,
                    offerings=(Offering(zone="", capacity_type="on-demand", available=False),),
                )
            ],
            "",
            id="sold out is sold",
        ),
        pytest.param([], "", id="a cloud that tells no types"),
    ],
)
async def test_a_type_that_is_no_longer_sold(
    world: PoolWorld, types: list[InstanceType], reason: str
) -> None:
    name = await _one(world)
    world.cloud.types = types
    world.clock.advance(3599)
    assert await _drifted(world, name) == "", "not in the first hour"
    world.clock.advance(1)
    assert await _drifted(world, name) == reason


async def test_types_are_looked_up_each_half_hour(world: PoolWorld) -> None:
    name = await _one(world)
    world.cloud.types = [SOLD]
    world.clock.advance(3600)
    assert await _drifted(world, name) == ""
    world.cloud.types = [replace(SOLD, name="x")]
    world.clock.advance(1799)
    assert await _drifted(world, name) == ""
    world.clock.advance(1)
    assert await _drifted(world, name) == "InstanceTypeNotFound"


async def test_case_61_the_clouds_reason_comes_last(world: PoolWorld) -> None:
    name = await _one(world)
    world.cloud.drifted[name] = "ImageDrift"
    world.clock.advance(300)
    assert await _drifted(world, name) == "ImageDrift"
    assert world.events.told[-1].reason == "Drifted"
    assert world.events.told[-1].message.startswith("ImageDrift: ")
    world.edit_pool(_template({"labels": {"a": "b"}}))
    await world.reconcile_status()
    assert await _drifted(world, name) == "NodePoolDrifted"


async def test_the_cloud_is_asked_each_five_minutes_whatever_happens(world: PoolWorld) -> None:
    name = await _one(world)
    for _ in range(10):
        result = await world.drift.reconcile(world.claim(name))
        assert result.requeue_after == 300.0
    assert world.cloud.asked == [name]
    world.clock.advance(300)
    await world.reconcile_drift(name)
    assert world.cloud.asked == [name, name]


async def test_a_standalone_claim_drifts_by_class_and_cloud_only(world: PoolWorld) -> None:
    """Its pool label names a pool that is not its own; the claim stays."""
    world.add_pool("kaito", requirements=[{"key": "x", "operator": "In", "values": ["y"]}])
    await world.add_ready("ws1", labels={"karpenter.sh/nodepool": "kaito"})
    await world.reconcile_status("kaito")
    world.cloud.types = [replace(SOLD, name="x")]
    world.clock.advance(7200)
    assert await _drifted(world, "ws1") == ""
    world.cloud.drifted["ws1"] = "ImageDrift"
    world.clock.advance(300)
    assert await _drifted(world, "ws1") == "ImageDrift"
    await world.reconcile_pool("kaito")
    assert not world.claim("ws1").deleting


async def test_case_61_a_class_that_has_changed(world: PoolWorld) -> None:
    world.add_class(imageFamily="Ubuntu")
    await world.reconcile_class()
    stamp = world.node_class().metadata.annotations
    name = await _one(world, node_class_ref=AKS_REF)
    world.kube.change(NODE_CLAIMS, name, {"metadata": {"annotations": stamp}})
    assert await _drifted(world, name) == ""
    edited = {"spec": {"imageFamily": "AzureLinux"}, "metadata": {"generation": 2}}
    world.kube.change(world.cloud.node_class_resources[0], "gpu", edited)
    await world.reconcile_class()
    assert await _drifted(world, name) == "NodeClassDrift"


async def test_case_61_what_is_not_launched_has_not_drifted(world: PoolWorld) -> None:
    name = await _one(world)
    await world.drifts(name)
    before = world.claim(name)
    after = before.with_condition("Launched", "Unknown", now=world.now())
    world.kube.change(NODE_CLAIMS, name, {"status": after.status.to_json()})
    world.cloud.drifted[name] = "ImageDrift"
    result = await world.drift.reconcile(world.claim(name))
    assert "Drifted" not in {each.type for each in world.claim(name).status.conditions}
    assert result.requeue_after is None


async def test_nothing_is_written_when_nothing_changes(world: PoolWorld) -> None:
    name = await _one(world)
    world.cloud.drifted[name] = "ImageDrift"
    world.clock.advance(300)
    await world.reconcile_drift(name)
    world.kube.refuse_next("patch", ConflictError(409, "Conflict", "nobody asked for this"))
    world.clock.advance(300)
    await world.reconcile_drift(name)
