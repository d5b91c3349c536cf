"""Node classes: judged, stamped and held."""

from __future__ import annotations

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CloudUnavailableError
from cloudproviders.nodeclass import NodeClassCondition
from kube.errors import ConflictError
from kube.meta import Manifest, find_condition
from tests.fakes.pools import AKS, AKS_REF
from tests.unit.gpu_provisioner.pool_world import PoolWorld

HASH = "karpenter.azure.com/aksnodeclass-hash"
VERSION = "karpenter.azure.com/aksnodeclass-hash-version"
FINALIZER = "karpenter.azure.com/termination"


@pytest.fixture
def world() -> PoolWorld:
    return PoolWorld()


def _manifest(world: PoolWorld) -> Manifest:
    found = world.kube.manifest(AKS, "gpu")
    assert found is not None
    return found


def _said(world: PoolWorld) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in world.node_class().status.conditions}


async def test_a_class_carries_what_the_cloud_found_out(world: PoolWorld) -> None:
    world.add_class()
    result = await world.reconcile_class()
    assert _said(world) == {
        "SubnetsReady": ("True", "SubnetsReady"),
        "ImagesReady": ("True", "ImagesReady"),
        "Ready": ("True", "Ready"),
    }
    assert _manifest(world)["status"]["images"] == [{"id": "image-1"}]
    assert world.node_class().metadata.annotations.keys() == {HASH, VERSION}
    assert world.node_class().metadata.finalizers == (FINALIZER,)
    assert result.requeue_after == 300.0


async def test_what_the_cloud_lacks_makes_the_class_not_ready(world: PoolWorld) -> None:
    world.cloud.verdict = (
        NodeClassCondition("SubnetsReady", "False", "SubnetsNotFound", "no subnet by that tag"),
        NodeClassCondition("ImagesReady", "Unknown", "Asking"),
    )
    world.add_class()
    await world.reconcile_class()
    assert _said(world)["SubnetsReady"] == ("False", "SubnetsNotFound")
    assert _said(world)["Ready"] == ("False", "UnhealthyDependents")


async def test_a_class_that_nothing_is_asked_of_is_ready(world: PoolWorld) -> None:
    world.cloud.verdict = ()
    world.add_class()
    await world.reconcile_class()
    assert _said(world) == {"Ready": ("True", "Ready")}


async def test_conditions_of_a_provisioner_before_us_go(world: PoolWorld) -> None:
    world.add_class()
    old = [{"type": "LocalDNSReady", "status": "False"}, {"type": "Ready", "status": "False"}]
    world.kube.change(AKS, "gpu", {"status": {"conditions": old, "kubernetesVersion": "1.30"}})
    await world.reconcile_class()
    assert _said(world).keys() == {"SubnetsReady", "ImagesReady", "Ready"}
    assert _manifest(world)["status"]["kubernetesVersion"] == "1.30"


async def test_ready_is_dated_by_its_own_changes_not_by_edits(world: PoolWorld) -> None:
    world.add_class()
    await world.reconcile_class()
    before = find_condition(world.node_class().status.conditions, "Ready")
    world.clock.advance(60)
    world.kube.change(AKS, "gpu", {"spec": {"tags": {"a": "b"}}, "metadata": {"generation": 2}})
    await world.reconcile_class()
    after = find_condition(world.node_class().status.conditions, "Ready")
    assert before is not None
    assert after is not None
    assert after.last_transition_time == before.last_transition_time
    assert after.observed_generation == 2


async def test_nothing_is_written_when_nothing_changes(world: PoolWorld) -> None:
    world.add_class()
    await world.reconcile_class()
    world.kube.refuse_next("patch", ConflictError(409, "Conflict", "nobody asked for this"))
    world.clock.advance(300)
    await world.reconcile_class()
    world.cloud.fields = {"images": [{"id": "image-2"}]}
    with pytest.raises(ConflictError):
        await world.reconcile_class()
    await world.reconcile_class()
    assert _manifest(world)["status"]["images"] == [{"id": "image-2"}]


async def test_a_cloud_that_is_away_leaves_what_was_found_out(world: PoolWorld) -> None:
    world.add_class()
    await world.reconcile_class()
    before = _manifest(world)
    world.cloud.unresolved = CloudUnavailableError("no answer from the cloud")
    with pytest.raises(CloudUnavailableError):
        await world.reconcile_class()
    assert _manifest(world) == before
    assert world.events.reasons() == ["NodeClassNotResolved"]


async def test_a_class_never_judged_says_that_the_cloud_is_away(world: PoolWorld) -> None:
    world.cloud.unresolved = CloudUnavailableError("no answer from the cloud")
    world.add_class()
    for _ in range(2):
        with pytest.raises(CloudUnavailableError):
            await world.reconcile_class()
    assert _said(world) == {"Ready": ("Unknown", "NodeClassNotResolved")}
    world.cloud.unresolved = None
    await world.reconcile_class()
    assert _said(world)["Ready"] == ("True", "Ready")


async def test_the_hash_follows_what_the_cloud_counts(world: PoolWorld) -> None:
    world.add_class(imageFamily="Ubuntu")
    await world.reconcile_class()
    first = world.node_class().metadata.annotations[HASH]
    world.kube.change(AKS, "gpu", {"spec": {"tags": {"a": "b"}}, "metadata": {"generation": 2}})
    await world.reconcile_class()
    assert world.node_class().metadata.annotations[HASH] == first
    edited = {"spec": {"imageFamily": "AzureLinux"}, "metadata": {"generation": 3}}
    world.kube.change(AKS, "gpu", edited)
    await world.reconcile_class()
    assert world.node_class().metadata.annotations[HASH] != first


async def test_case_61_claims_of_another_provisioner_are_stamped_anew(world: PoolWorld) -> None:
    world.add_class()
    await world.reconcile_class()
    await world.add_launched("ws1", node_class_ref=AKS_REF)
    foreign = {"metadata": {"annotations": {HASH: "4711", VERSION: "v3"}}}
    world.kube.change(NODE_CLAIMS, "ws1", foreign)
    world.kube.change(AKS, "gpu", foreign)
    await world.reconcile_class()
    stamp = world.node_class().metadata.annotations
    assert stamp[VERSION] == "kaito-v1"
    assert stamp.items() <= world.claim("ws1").metadata.annotations.items()


async def test_claims_stamped_by_us_keep_their_hash(world: PoolWorld) -> None:
    world.add_class()
    await world.reconcile_class()
    await world.add_launched("ws1", node_class_ref=AKS_REF)
    ours = {"metadata": {"annotations": {HASH: "older", VERSION: "kaito-v1"}}}
    world.kube.change(NODE_CLAIMS, "ws1", ours)
    await world.reconcile_class()
    assert world.claim("ws1").metadata.annotations[HASH] == "older"


async def test_a_class_is_held_while_claims_refer_to_it(world: PoolWorld) -> None:
    world.add_class()
    await world.reconcile_class()
    world.add_claim("ws1", node_class_ref=AKS_REF)
    world.add_claim("other", node_class_ref={**AKS_REF, "name": "cpu"})
    ending = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    world.kube.change(AKS, "gpu", ending)
    result = await world.reconcile_class()
    assert result.requeue_after == 600.0
    assert world.node_class().metadata.finalizers == (FINALIZER,)
    assert world.events.told[-1].reason == "WaitingOnNodeClaims"
    assert world.events.told[-1].message == "1 NodeClaims refer to it: ws1"
    world.kube.vanish(NODE_CLAIMS, "ws1")
    await world.reconcile_class()
    assert world.kube.manifest(AKS, "gpu") is None


async def test_somebody_elses_finalizer_stays(world: PoolWorld) -> None:
    world.add_class()
    await world.reconcile_class()
    world.kube.change(
        AKS,
        "gpu",
        {
            "metadata": {
                "deletionTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": ["example.com/other", FINALIZER],
            }
        },
    )
    await world.reconcile_class()
    assert world.node_class().metadata.finalizers == ("example.com/other",)
    await world.reconcile_class()
