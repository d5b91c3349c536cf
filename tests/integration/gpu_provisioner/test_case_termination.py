"""The end of claims and nodes against the real API server: cases 34 to 45."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.errors import CloudUnavailableError, CreateError
from kube.meta import Manifest
from kube.objects import NODES, PODS, Node
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud
from tests.integration.gpu_provisioner import ending
from tests.integration.gpu_provisioner.world import BootingCloud, Cluster, eventually


async def test_case_34_a_claim_takes_its_node_its_machine_and_itself_in_that_order(
    cluster: Cluster,
) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1")
        await ending.delete(cluster)
        await cluster.gone("ws1")

    assert cloud.deletes[0] is True  # the Node was there until its machine was gone
    assert await cluster.client.get(PODS, "p", "default") is None
    assert cloud.instances == {}


async def test_case_35_a_cloud_that_is_away_keeps_the_finalizers_until_it_is_back(
    cluster: Cluster,
) -> None:
    cloud = ending.AbsentCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        cloud.away = True
        await ending.delete(cluster)

        async def asked_again() -> None:
            assert len(cloud.deletes) >= 3

        await eventually(asked_again)
        claim, node = await cluster.claim("ws1"), await cluster.node("ws1")
        assert claim is not None
        assert node is not None
        assert claim.metadata.finalizers == node.metadata.finalizers == (ending.FINALIZER,)
        await ending.nothing_is_leaked(cluster, cloud)

        cloud.away = False
        await cluster.gone("ws1")

    assert cloud.instances == {}


async def test_case_35_so_does_one_that_fails_a_claim_without_a_node(cluster: Cluster) -> None:
    cloud = FakeCloud()
    cloud.fails_next_delete(CloudUnavailableError("throttled"))
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await launched(cluster)
        await ending.delete(cluster)
        await cluster.gone("ws1")

    assert cloud.instances == {}


async def launched(cluster: Cluster) -> NodeClaim:
    async def check() -> NodeClaim:
        claim = await cluster.claim("ws1")
        assert claim is not None
        assert claim.is_true("Launched")
        return claim

    return await eventually(check)


async def test_case_36_a_machine_that_lingers_is_waited_for(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client, lingers=True)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await ending.delete(cluster)

        async def polled() -> None:
            assert len(cloud.deletes) >= 4

        await eventually(polled)
        claim = await cluster.claim("ws1")
        assert claim is not None
        assert claim.metadata.finalizers == (ending.FINALIZER,)
        assert claim.is_true("InstanceTerminating")
        assert await cluster.node("ws1") is not None

        cloud.finish_terminating()
        await cluster.gone("ws1")


async def test_case_37_every_node_of_the_claim_goes_and_is_waited_for(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")
        again = objects.node_manifest(
            claim.status.provider_id, "ws1-again", finalizers=["example.com/hold"]
        )
        await cluster.client.create(again)
        await asyncio.sleep(ending.A_WHILE)
        await ending.delete(cluster)

        async def one_is_left() -> None:
            held = await cluster.node("ws1-again")
            assert held is not None
            assert held.metadata.deletion_timestamp is not None
            assert await cluster.node("ws1") is None

        await eventually(one_is_left)
        claim_left = await cluster.claim("ws1")
        assert claim_left is not None
        assert claim_left.metadata.finalizers == (ending.FINALIZER,)

        await cluster.client.patch(NODES, "ws1-again", {"metadata": {"finalizers": None}})
        await cluster.gone("ws1")

    assert cloud.instances == {}


async def test_case_38_a_claim_that_nobody_took_on_goes_without_a_call(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    await cluster.create_claim("ws1")
    await ending.delete(cluster)
    async with cluster.provisioner(cloud):
        await cluster.gone("ws1")
        await asyncio.sleep(ending.A_WHILE)

    assert cloud.made == []
    assert cloud.deletes == []


async def test_case_38_one_that_was_never_launched_goes_at_the_cost_of_one_call(
    cluster: Cluster,
) -> None:
    """The provisioner may have died with the machine bought and not yet written down: only the
    cloud can say that there is none."""
    cloud = BootingCloud(cluster.client)
    cloud.refuses_next(*(CreateError("QuotaExceeded", "no cores") for _ in range(50)))
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")

        async def refused() -> None:
            claim = await cluster.claim("ws1")
            assert claim is not None
            assert claim.condition("Launched").reason == "QuotaExceeded"

        await eventually(refused)
        await ending.delete(cluster)
        await cluster.gone("ws1")

    assert cloud.made == []
    assert cloud.deletes == [False]


async def still_attaching(claim: NodeClaim, node: Node) -> float | None:
    """A hook that is never done with a node that has joined."""
    return 60.0


class HoldingCloud(FakeCloud):
    registration_hooks = (still_attaching,)


async def test_case_39_a_node_that_never_registered_is_not_ours_to_delete(
    cluster: Cluster,
) -> None:
    cloud = HoldingCloud()
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        claim = await launched(cluster)
        await cluster.client.create(objects.node_manifest(claim.status.provider_id))
        await asyncio.sleep(ending.A_WHILE)
        await ending.delete(cluster)

        async def gone() -> None:
            assert await cluster.claim("ws1") is None

        await eventually(gone)

    node = await cluster.node("ws1")
    assert node is not None
    assert node.metadata.deletion_timestamp is None
    assert cloud.instances == {}


@pytest.mark.parametrize(
    ("spec", "annotated", "expected"),
    [
        pytest.param({"terminationGracePeriod": "1h30m"}, "", "stamped", id="set"),
        pytest.param({}, "", "", id="absent"),
        pytest.param(
            {"terminationGracePeriod": "1h30m"}, "2030-01-01T00:00:00Z", "kept", id="existing"
        ),
    ],
)
async def test_case_40_the_grace_period_becomes_a_deadline(
    cluster: Cluster, spec: Manifest, annotated: str, expected: str
) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", **spec)
        await cluster.ready("ws1")
        if annotated:
            await annotate(cluster, annotated)
        await cluster.create_pod("p", "ws1", **ending.HOLDS)
        await ending.delete(cluster)
        await ending.node_ends(cluster)
        claim = await cluster.claim("ws1")
        assert claim is not None
        assert claim.metadata.deletion_timestamp is not None

        stamp = claim.metadata.annotations.get(ending.STAMP, "")
        if expected == "stamped":
            wanted = claim.metadata.deletion_timestamp + timedelta(minutes=90)
            assert datetime.fromisoformat(stamp) == wanted
            assert "TerminationGracePeriodExpiring" in cluster.events.reasons()
        else:
            assert stamp == annotated

        await ending.kill(cluster, "p")
        await cluster.gone("ws1")


async def annotate(cluster: Cluster, stamp: str) -> None:
    await cluster.client.patch(
        NODE_CLAIMS, "ws1", {"metadata": {"annotations": {ending.STAMP: stamp}}}
    )


async def test_case_41_a_node_that_is_deleted_takes_its_claim_along(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1")
        await cluster.client.delete(NODES, "ws1")
        await cluster.gone("ws1")

    assert cloud.instances == {}
    assert await ending.pod(cluster, "p") is None  # drained all the same


async def test_case_42_a_node_of_others_keeps_even_our_finalizer(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    theirs = objects.node_manifest("aws:///theirs", "theirs", finalizers=[ending.FINALIZER])
    await cluster.client.create(theirs)
    await cluster.client.delete(NODES, "theirs")
    before = await cluster.node("theirs")
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await asyncio.sleep(ending.A_WHILE)

    assert before is not None
    assert await cluster.node("theirs") == before


async def test_case_43_a_dead_node_without_a_machine_is_not_drained(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1", **ending.HOLDS)
        await ending.becomes_not_ready(cluster)
        cloud.loses(claim.status.provider_id)
        await ending.delete(cluster)
        await cluster.gone("ws1")

    left = await ending.pod(cluster, "p")
    assert left is not None
    assert left.metadata.deletion_timestamp is None


async def test_case_43_one_that_is_ready_is_drained_whatever_the_cloud_says(
    cluster: Cluster,
) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1", **ending.HOLDS)
        cloud.loses(claim.status.provider_id)
        await ending.delete(cluster)
        await ending.node_ends(cluster)

        async def still_there() -> None:
            assert await cluster.node("ws1") is not None

        await ending.stays(still_there)
        await ending.kill(cluster, "p")
        await cluster.gone("ws1")


async def test_case_44_an_ending_node_gets_no_pods_and_no_traffic(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1", **ending.HOLDS)
        await ending.delete(cluster)
        node = await ending.node_ends(cluster)

        assert "karpenter.sh/disrupted=:NoSchedule" in [str(each) for each in node.spec.taints]
        balancers = "node.kubernetes.io/exclude-from-external-load-balancers"
        assert node.metadata.labels[balancers] == "karpenter"
        await ending.kill(cluster, "p")
        await cluster.gone("ws1")


async def test_case_45_quantities_that_are_spelled_anew_do_not_hold_a_claim(
    cluster: Cluster,
) -> None:
    """The spec is immutable, and nothing may write it back as it was read."""
    cloud = BootingCloud(cluster.client)
    requests: Manifest = {"requests": {"storage": "1024Gi", "cpu": "1000m"}}
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", resources=requests)
        claim = await cluster.ready("ws1")
        assert claim.spec.resources.requests["storage"] == "1024Gi"
        await ending.delete(cluster)
        await cluster.gone("ws1")
