"""What keeps claims and the cloud in step, against the real API server: cases 56 to 58, 60, 62
and 63."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.provider import Instance
from kube.meta import Manifest
from kube.objects import NODES
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud
from tests.integration.gpu_provisioner import ending
from tests.integration.gpu_provisioner.world import QUICK, BootingCloud, Cluster, eventually

OFTEN = replace(QUICK, garbage_collection=0.1, garbage_grace=0.0)
LABEL = "kaito.sh/kaitonodeclass"


async def deleted_by_uid(cluster: Cluster, *uids: str) -> None:
    """The claims with these uids are gone, or on their way out."""

    async def check() -> None:
        claims = (await cluster.client.list(NODE_CLAIMS)).items
        assert [each for each in claims if each.metadata.uid in uids and not each.deleting] == []

    await eventually(check)


async def test_case_56_claims_whose_machine_is_lost_are_collected_many_at_once(
    cluster: Cluster,
) -> None:
    """All but those whose Node is Ready, and those that wait for one."""
    cloud = BootingCloud(cluster.client)
    lost = [f"lost{number}" for number in range(30)]
    async with cluster.provisioner(cloud, timings=QUICK):
        for name in [*lost, "alive", "ready"]:
            await cluster.create_claim(name)
        claims = {name: await cluster.ready(name) for name in [*lost, "alive", "ready"]}
    for name in lost:
        await ending.becomes_not_ready(cluster, name)
    await ending.becomes_not_ready(cluster, "alive")
    for name in [*lost, "ready"]:
        cloud.loses(claims[name].status.provider_id)

    async with cluster.provisioner(cloud, timings=OFTEN):
        for name in lost:
            await cluster.gone(name)
        await asyncio.sleep(ending.A_WHILE)

    for name in ("alive", "ready"):
        kept = await cluster.claim(name)
        assert kept is not None
        assert not kept.deleting
    assert {each.claim_name for each in await cloud.list()} == {"alive"}
    assert cluster.events.reasons().count("InstanceGone") == 30


async def test_case_56_a_claim_that_has_not_registered_is_left_to_its_own_clock(
    cluster: Cluster,
) -> None:
    cloud = FakeCloud()
    async with cluster.provisioner(cloud, timings=OFTEN):
        await cluster.create_claim("ws1")

        async def launched() -> str:
            claim = await cluster.claim("ws1")
            assert claim is not None
            assert claim.is_true("Launched")
            return claim.status.provider_id

        cloud.loses(await eventually(launched))
        await asyncio.sleep(ending.A_WHILE)

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert not claim.deleting


async def test_case_56_a_lost_node_object_does_not_save_the_claim(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")
    cloud.loses(claim.status.provider_id)
    await cluster.client.patch(NODES, "ws1", {"metadata": {"finalizers": None}})
    await cluster.client.delete(NODES, "ws1")

    async with cluster.provisioner(cloud, timings=OFTEN):
        await cluster.gone("ws1")


def orphan(name: str, *, age: float, provider_id: str | None = None) -> Instance:
    return Instance(
        provider_id=f"fake:///{name}" if provider_id is None else provider_id,
        name=name,
        claim_name=name,
        claim_uid=f"uid-{name}",
        created=datetime.now(UTC) - timedelta(seconds=age),
    )


async def test_case_57_instances_without_a_claim_go_with_their_nodes(cluster: Cluster) -> None:
    """Once they are older than the grace; also those that the cloud has no name for yet."""
    cloud = BootingCloud(cluster.client)
    found = [orphan(f"old{number}", age=60) for number in range(30)]
    found += [orphan("young", age=0), orphan("nameless", age=60, provider_id="")]
    cloud.instances = {each.claim_uid: each for each in found}
    await cluster.client.create(objects.node_manifest("fake:///old7", "old7"))
    await cluster.client.create(objects.node_manifest("fake:///theirs", "theirs"))
    async with cluster.provisioner(
        cloud, timings=replace(QUICK, garbage_collection=0.1, garbage_grace=30.0)
    ):

        async def collected() -> None:
            assert set(cloud.instances) == {"uid-young"}
            assert await cluster.node("old7") is None

        await eventually(collected)

    assert await cluster.node("theirs") is not None


async def test_case_57_an_instance_of_a_former_claim_of_that_name_is_not_the_new_ones(
    cluster: Cluster,
) -> None:
    cloud = BootingCloud(cluster.client)
    former = orphan("ws1", age=60)
    cloud.instances = {former.claim_uid: former}
    async with cluster.provisioner(cloud, timings=OFTEN):
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")

        async def collected() -> None:
            assert set(cloud.instances) == {claim.metadata.uid}

        await eventually(collected)
        await ending.nothing_is_leaked(cluster, cloud)


class Tagged(BootingCloud):
    """Machines of others stand beside ours in the account: no `list` of ours shows them."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.client)
        self.others = {"theirs": orphan("theirs", age=3600)}

    async def list(self) -> Sequence[Instance]:
        return [each for uid, each in self.instances.items() if uid not in self.others]


async def test_case_57_machines_with_foreign_tags_are_kept(cluster: Cluster) -> None:
    """A provider shows none; the conformance suite holds each cloud to it."""
    cloud = Tagged(cluster)
    cloud.instances = dict(cloud.others)
    async with cluster.provisioner(cloud, timings=OFTEN):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await asyncio.sleep(ending.A_WHILE)

    assert "theirs" in cloud.instances


async def test_case_57_a_machine_whose_claim_was_forced_away_is_collected(
    cluster: Cluster,
) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
    await cluster.empty()
    assert len(cloud.instances) == 1

    async with cluster.provisioner(cloud, timings=OFTEN):
        await ending.nothing_is_leaked(cluster, cloud)


async def test_case_58_a_claim_ends_at_its_age_whatever_runs_there(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        old = await cluster.create_claim("old", expireAfter="8s", terminationGracePeriod="1s")
        await cluster.create_claim("young", expireAfter="1h")
        await cluster.create_claim("never", expireAfter="Never")
        for name in ("old", "young", "never"):
            await cluster.ready(name)
        await cluster.create_pod("p", "old", **ending.HOLDS)
        await deleted_by_uid(cluster, old.metadata.uid)

        born = old.metadata.creation_timestamp
        ended = await cluster.claim("old")
        assert born is not None
        assert ended is not None
        assert ended.metadata.deletion_timestamp is not None
        assert 8 <= (ended.metadata.deletion_timestamp - born).total_seconds() <= 11
        await ending.is_leaving(cluster, "p")
        await ending.kill(cluster, "p")
        await cluster.gone("old")
        await ending.nothing_is_leaked(cluster, cloud)

    assert cluster.events.reasons().count("Expired") == 1
    assert {each.claim_name for each in await cloud.list()} == {"young", "never"}


@pytest.mark.parametrize(
    ("gpus", "status"), [pytest.param("1", "True", id="all"), pytest.param("0", "False", id="less")]
)
async def test_case_60_a_node_that_is_smaller_than_promised_is_told_of(
    cluster: Cluster, gpus: str, status: str
) -> None:
    requests: Manifest = {"requests": {"nvidia.com/gpu": "1"}}
    async with cluster.provisioner(FakeCloud()):
        await cluster.create_claim("ws1", resources=requests)
        machine = await cluster.launched("ws1")
        await cluster.join(machine, "ws1", capacity={"nvidia.com/gpu": gpus})
        await cluster.ready("ws1")

        async def told() -> None:
            claim = await cluster.claim("ws1")
            assert claim is not None
            assert claim.condition("ConsistentStateFound").status == status
            assert claim.is_true("Ready")

        await eventually(told)

    assert ("FailedConsistencyCheck" in cluster.events.reasons()) is (status == "False")


async def test_case_62_old_objects_get_the_label_of_their_node_class(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
    bare = {"metadata": {"labels": {LABEL: None}}}
    await cluster.client.patch(NODE_CLAIMS, "ws1", bare)
    await cluster.client.patch(NODES, "ws1", bare)

    async with cluster.provisioner(cloud):

        async def labelled() -> None:
            claim, node = await cluster.claim("ws1"), await cluster.node("ws1")
            assert claim is not None
            assert node is not None
            assert claim.metadata.labels[LABEL] == node.metadata.labels[LABEL] == "default"

        await eventually(labelled)


async def test_case_63_pods_that_come_and_go_are_noted_on_the_claim(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud, timings=replace(QUICK, pod_events=1.0)):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        assert await last_pod_event(cluster) is None

        await cluster.create_pod("p", "ws1")
        came = await pod_event_after(cluster, None)
        await asyncio.sleep(1.1)
        await ending.kill(cluster, "p")
        went = await pod_event_after(cluster, came)
        await asyncio.sleep(1.1)
        await cluster.create_pod("daemon", "ws1", owner="DaemonSet")
        await asyncio.sleep(ending.A_WHILE)
        assert await last_pod_event(cluster) == went

    async with cluster.provisioner(cloud, timings=replace(QUICK, pod_events=0.0)):
        await asyncio.sleep(ending.A_WHILE)
    assert await last_pod_event(cluster) == went  # what was there before is no news


async def last_pod_event(cluster: Cluster) -> datetime | None:
    claim = await cluster.claim("ws1")
    assert claim is not None
    return claim.status.last_pod_event_time


async def pod_event_after(cluster: Cluster, former: datetime | None) -> datetime:
    async def check() -> datetime:
        last = await last_pod_event(cluster)
        assert last is not None
        assert former is None or last > former
        return last

    return await eventually(check)


async def test_what_is_at_rest_is_not_written(cluster: Cluster) -> None:
    """Not by any of the controllers that look at it again and again."""
    cloud = BootingCloud(cluster.client)
    names = [f"ws{number}" for number in range(10)]
    restless = replace(OFTEN, consistency=0.1, drift=0.1, node_class=0.1)
    async with cluster.provisioner(cloud, timings=restless):
        for name in names:
            await cluster.create_claim(name, expireAfter="1h")
        for name in names:
            await cluster.ready(name)
        await asyncio.sleep(1.0)
        before = await versions(cluster)
        await asyncio.sleep(1.5)

        assert await versions(cluster) == before


async def versions(cluster: Cluster) -> dict[str, str]:
    claims = [each.metadata for each in (await cluster.client.list(NODE_CLAIMS)).items]
    nodes = [each.metadata for each in (await cluster.client.list(NODES)).items]
    return {
        f"{kind} {each.name}": each.resource_version
        for kind, found in (("claim", claims), ("node", nodes))
        for each in found
    }
