"""Cases 30 to 33, and what is ours beyond them: a claim that gets nowhere ends in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from cloudproviders.errors import CloudError, CreateError
from cloudproviders.provider import Instance, Pending
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud
from tests.integration.gpu_provisioner.test_case_launch import create_held, ended, given_up
from tests.integration.gpu_provisioner.test_case_registration import registered
from tests.integration.gpu_provisioner.world import QUICK, Cluster, eventually

SECONDS = 2.0
QUOTA = CreateError("QuotaExceeded", "32 of 30")


def lived(claim: NodeClaim) -> float:
    """Whole seconds by the API server's clock, both ends cut."""
    born, died = claim.metadata.creation_timestamp, claim.metadata.deletion_timestamp
    assert born is not None
    assert died is not None
    return (died - born).total_seconds()


async def test_case_30_a_claim_that_is_never_launched_ends_and_not_before(cluster: Cluster) -> None:
    cloud, before = FakeCloud(), given_up("launch_timeout")
    cloud.outage = QUOTA
    async with cluster.provisioner(cloud, timings=replace(QUICK, launch_timeout=SECONDS)):
        await create_held(cluster)
        await cluster.says("ws1", "Launched", "QuotaExceeded")
        cloud.outage = None
        cloud.refuses_next(*[QUOTA] * 9)
        claim = await ended(cluster)

    assert SECONDS <= lived(claim) <= SECONDS + 8
    assert given_up("launch_timeout") == before + 1
    told = cluster.events.told[-1]
    assert told.reason == "LaunchTimeout"
    assert told.message == "not Launched after 2 s: QuotaExceeded: 32 of 30"
    assert cloud.made == []


async def test_case_30_an_order_that_the_cloud_works_on_is_launched_in_time(
    cluster: Cluster,
) -> None:
    cloud = FakeCloud()
    cloud.is_at_work(*[Pending(message="Creating", look_again=0.5)] * 6)
    async with cluster.provisioner(cloud, timings=replace(QUICK, launch_timeout=1.0)):
        await cluster.create_claim("ws1")
        await cluster.launched("ws1")

    assert cloud.count("create") == 7


@pytest.mark.parametrize(
    ("changed", "ends"),
    [
        pytest.param(timedelta(hours=-1), True, id="young, but long unchanged"),
        pytest.param(timedelta(seconds=-60), False, id="changed not long ago"),
    ],
)
async def test_case_31_registration_has_its_time_from_when_its_condition_changed(
    cluster: Cluster, changed: timedelta, ends: bool
) -> None:
    cloud = FakeCloud()
    claim = await cluster.create_claim("ws1")
    async with cluster.provisioner(cloud):
        await cluster.launched("ws1")
        await cluster.says("ws1", "Registered", "NodeNotFound")
    found = await cluster.claim("ws1")
    assert found is not None
    assert claim.metadata.creation_timestamp is not None
    since = claim.metadata.creation_timestamp + changed
    conditions = [
        {
            "type": each.type,
            "status": each.status,
            "reason": each.reason,
            "message": each.message,
            "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for each in found.status.conditions
    ]
    await cluster.client.patch(
        NODE_CLAIMS, "ws1", {"status": {"conditions": conditions}}, subresource="status"
    )

    before = given_up("registration_timeout")
    async with cluster.provisioner(cloud):
        if ends:
            await cluster.deleted("ws1")
        else:
            await asyncio.sleep(0.5)

    assert given_up("registration_timeout") == before + ends
    assert (await cluster.claim("ws1") is None) is ends
    await cluster.balanced(cloud)


async def test_case_32_who_registers_in_time_stays(cluster: Cluster) -> None:
    timings = replace(QUICK, registration_timeout=SECONDS)
    async with cluster.provisioner(FakeCloud(), timings=timings):
        await cluster.create_claim("ws1")
        await cluster.join(await cluster.launched("ws1"), "ws1", ready=False)
        await registered(cluster)
        await asyncio.sleep(SECONDS + 1)

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert not claim.deleting


async def test_case_32_who_never_registers_takes_the_machine_along(cluster: Cluster) -> None:
    cloud = FakeCloud()
    timings = replace(QUICK, registration_timeout=SECONDS)
    async with cluster.provisioner(cloud, timings=timings):
        await cluster.create_claim("ws1")
        await cluster.launched("ws1")
        await cluster.deleted("ws1")

    assert cloud.instances == {}
    assert len(cloud.made) == 1
    told = next(each for each in cluster.events.told if each.reason == "RegistrationTimeout")
    assert told.message == (
        "not Registered after 2 s: NodeNotFound: Node not registered with cluster; fake-gpu-1 in"
        " fake-a: see the machine's boot log, and whether it reaches the API server"
    )


async def create_pool(cluster: Cluster) -> str:
    """Its uid."""
    template = {"spec": {"nodeClassRef": objects.KAITO_NODE_CLASS, "requirements": []}}
    created = await cluster.client.create(
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": "gpu"},
            "spec": {"template": template},
        }
    )
    return str(created["metadata"]["uid"])


async def create_owned(cluster: Cluster, name: str, pool_uid: str) -> None:
    manifest = objects.claim_manifest(name, labels={"karpenter.sh/nodepool": "gpu"})
    manifest["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "name": "gpu",
            "uid": pool_uid,
            "blockOwnerDeletion": True,
        }
    ]
    await cluster.client.create(manifest)


async def pool_says(cluster: Cluster, status: str) -> NodePool:
    async def is_said() -> NodePool:
        pool = await cluster.client.get(NODE_POOLS, "gpu")
        assert pool is not None
        assert pool.condition("NodeRegistrationHealthy").status == status, pool.status
        return pool

    return await eventually(is_said)


async def test_case_33_two_failures_of_four_make_the_pool_unhealthy_until_it_recovers(
    cluster: Cluster,
) -> None:
    uid = await create_pool(cluster)
    cloud = FakeCloud()
    timings = replace(QUICK, registration_timeout=1.0)
    async with cluster.provisioner(cloud, timings=timings):
        for name in ("a", "b"):
            await create_owned(cluster, name, uid)
            await cluster.deleted(name)
        pool = await pool_says(cluster, "False")
        assert pool.condition("NodeRegistrationHealthy").reason == "RegistrationFailed"

    async with cluster.provisioner(cloud):  # another process, which knows what the condition says
        for name, status in (("c", "False"), ("d", "False"), ("e", "True")):
            await create_owned(cluster, name, uid)
            await cluster.join(await cluster.launched(name), name)
            await registered(cluster, name)
            await pool_says(cluster, status)


async def test_case_33_a_launch_that_fails_is_told_by_its_own_reason(cluster: Cluster) -> None:
    uid = await create_pool(cluster)
    cloud = FakeCloud()
    cloud.refuses_next(*[QUOTA] * 20)
    async with cluster.provisioner(cloud, timings=replace(QUICK, launch_timeout=1.0)):
        for name in ("a", "b"):
            await create_owned(cluster, name, uid)
            await cluster.deleted(name)
        pool = await pool_says(cluster, "False")

    said = pool.condition("NodeRegistrationHealthy")
    assert (said.reason, said.message) == ("QuotaExceeded", "32 of 30")


async def test_case_33_claims_of_another_pool_say_nothing(cluster: Cluster) -> None:
    await create_pool(cluster)
    timings = replace(QUICK, registration_timeout=1.0)
    async with cluster.provisioner(FakeCloud(), timings=timings):
        for name in ("a", "b"):
            await create_owned(cluster, name, "11111111-2222-3333-4444-555555555555")
        for name in ("a", "b"):
            await cluster.deleted(name)

    pool = await cluster.client.get(NODE_POOLS, "gpu")
    assert pool is not None
    assert pool.condition("NodeRegistrationHealthy").reason == "AwaitingReconciliation"


class Counting(FakeCloud):
    """Whose machines take their time to go, and that remembers what was there at each order."""

    def __init__(self) -> None:
        super().__init__(lingers=True)
        self.most = 0
        self.journal: list[tuple[str, str]] = []

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        made = await super().create(claim)
        if ("create", claim.metadata.uid) not in self.journal:
            self.journal.append(("create", claim.metadata.uid))
        same = [each for each in self.instances.values() if each.name == claim.metadata.name]
        self.most = max(self.most, len(same))
        return made

    async def delete(self, claim: NodeClaim, /) -> None:
        if ("delete", claim.metadata.uid) not in self.journal:
            self.journal.append(("delete", claim.metadata.uid))
        try:
            await super().delete(claim)
        except CloudError:
            if ("gone", claim.metadata.uid) not in self.journal:
                self.journal.append(("gone", claim.metadata.uid))
            raise
        self.finish_terminating()


async def wants(cluster: Cluster, name: str, *, seen: list[str], times: int) -> None:
    """Somebody who wants a node of that name, and asks again whenever there is none."""
    while len(seen) < times:
        if await cluster.claim(name) is None:
            seen.append((await cluster.create_claim(name)).metadata.uid)
        await asyncio.sleep(0.02)


async def test_a_gpu_that_never_turns_up_ends_the_claim_and_never_costs_two_machines(
    cluster: Cluster,
) -> None:
    """From registered on: whoever wants the node again gets it when the first one has gone."""
    cloud, before = Counting(), given_up("initialization_timeout")
    timings = replace(QUICK, initialization_timeout=SECONDS)
    uids: list[str] = []
    async with cluster.provisioner(cloud, timings=timings), asyncio.TaskGroup() as group:
        group.create_task(wants(cluster, "ws1", seen=uids, times=2))
        provider_id = await cluster.launched("ws1")
        await cluster.join(provider_id, "node-1", allocatable={"cpu": "8"})
        await cluster.says("ws1", "Initialized", "ResourceNotRegistered")
        await asyncio.sleep(SECONDS / 2)
        assert not (await held(cluster)).deleting

        async def replaced() -> str:
            claim = await held(cluster)
            assert len(uids) == 2
            assert claim.metadata.uid == uids[1]
            assert claim.status.provider_id
            return claim.status.provider_id

        again = await eventually(replaced)
        await cluster.join(again, "node-2")
        await cluster.ready("ws1")

    assert given_up("initialization_timeout") == before + 1
    assert cloud.most == 1
    assert cloud.journal == [
        ("create", uids[0]),
        ("delete", uids[0]),
        ("gone", uids[0]),
        ("create", uids[1]),
    ]
    assert await cluster.node("node-1") is None
    await cluster.balanced(cloud)
    told = next(each for each in cluster.events.told if each.reason == "InitializationTimeout")
    assert "Node is Ready, but advertises 0 of 1 nvidia.com/gpu" in told.message
    assert told.message.startswith("not Initialized after 2 s: ResourceNotRegistered: ")


async def held(cluster: Cluster) -> NodeClaim:
    claim = await cluster.claim("ws1")
    assert claim is not None
    return claim


@pytest.mark.parametrize("limit", [0.0, -1.0])
async def test_no_limit_waits_for_ever(cluster: Cluster, limit: float) -> None:
    timings = replace(QUICK, initialization_timeout=limit)
    async with cluster.provisioner(FakeCloud(), timings=timings):
        await cluster.create_claim("ws1")
        await cluster.join(await cluster.launched("ws1"), "ws1", allocatable={"cpu": "8"})
        await cluster.says("ws1", "Initialized", "ResourceNotRegistered")
        await asyncio.sleep(1)

    assert not (await held(cluster)).deleting
