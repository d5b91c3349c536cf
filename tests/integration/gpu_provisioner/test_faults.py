"""What the world does to a provisioner that lives on.

Whatever it was, in the end each claim has its one machine, each machine its claim, and no finalizer
is stuck.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CloudUnavailableError, CreateError
from cloudproviders.provider import Pending
from kube.clock import Clock, ServerClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.proxy import Proxy
from tests.integration.gpu_provisioner.world import QUICK, BootingCloud, Cluster, eventually

NAMES = [f"ws{number}" for number in range(5)]


async def create_all(cluster: Cluster, names: Sequence[str] = NAMES) -> None:
    for name in names:
        await cluster.create_claim(name)


async def delete_all(cluster: Cluster, names: Sequence[str] = NAMES) -> None:
    for name in names:
        await cluster.client.delete(NODE_CLAIMS, name)


async def all_ready(cluster: Cluster, cloud: FakeCloud, names: Sequence[str] = NAMES) -> None:
    for name in names:
        await cluster.ready(name)
    assert len(cloud.made) == len(set(cloud.made)) == len(names)
    await cluster.balanced(cloud)


async def all_gone(cluster: Cluster, cloud: FakeCloud, names: Sequence[str] = NAMES) -> None:
    for name in names:
        await cluster.gone(name)
    assert cloud.instances == {}


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(CloudUnavailableError("connection refused"), id="away"),
        pytest.param(CreateError("ExpiredToken", "the token has expired"), id="expired"),
        pytest.param(TimeoutError(), id="mute"),
    ],
)
async def test_a_cloud_that_cannot_be_asked_for_a_while_loses_nothing(
    cluster: Cluster, outage: Exception
) -> None:
    cloud = BootingCloud(cluster.client)
    cloud.outage = outage
    reason = outage.reason if isinstance(outage, CreateError) else "LaunchFailed"
    async with cluster.provisioner(cloud):
        await create_all(cluster)
        for name in NAMES:
            said = await cluster.says(name, "Launched", reason)
            assert said.message
        cloud.outage = None
        await all_ready(cluster, cloud)

        cloud.outage = outage
        await delete_all(cluster)
        await asyncio.sleep(0.5)
        for name in NAMES:
            claim = await cluster.claim(name)
            assert claim is not None
            assert claim.metadata.finalizers
        cloud.outage = None
        await all_gone(cluster, cloud)


async def test_a_cloud_that_goes_away_over_an_order_is_asked_again(cluster: Cluster) -> None:
    """Though it took longer than a launch may: the order stands, and nobody has refused it."""
    cloud = BootingCloud(cluster.client)
    cloud.is_at_work(Pending(message="Creating", look_again=0.2))
    async with cluster.provisioner(cloud, timings=replace(QUICK, launch_timeout=1.0)):
        await cluster.create_claim("ws1")
        await cluster.says("ws1", "Launched", "Provisioning")
        cloud.outage = CloudUnavailableError("503")
        await cluster.says("ws1", "Launched", "LaunchFailed")
        await asyncio.sleep(1.5)
        cloud.outage = None
        await all_ready(cluster, cloud, ["ws1"])


async def test_an_api_server_that_is_away_for_a_while_loses_nothing(cluster: Cluster) -> None:
    """Cut the moment the first machine is bought, and again as the first one is given back."""
    cloud = BootingCloud(cluster.client)
    behind = urlsplit(cluster.endpoint.server).port
    assert behind is not None

    async def called(verb: str) -> None:
        assert cloud.count(verb)

    async with Proxy(behind) as way:
        client = cluster.new_client(server=f"https://127.0.0.1:{way.port}")
        async with cluster.provisioner(cloud, client=client):
            for begin, verb, end in (
                (create_all, "create", all_ready),
                (delete_all, "delete", all_gone),
            ):
                await begin(cluster)
                await eventually(lambda: called(verb))  # noqa: B023 - called at once
                way.cut()
                await asyncio.sleep(1)
                way.mend()
                await end(cluster, cloud)


class Skewed(Clock):
    """A clock that somebody has set wrong."""

    def __init__(self, ahead: float) -> None:
        self._ahead = timedelta(seconds=ahead)

    def now(self) -> datetime:
        return super().now() + self._ahead


SKEWS = pytest.mark.parametrize(
    "ahead", [pytest.param(600.0, id="ahead"), pytest.param(-600.0, id="behind")]
)


@SKEWS
async def test_a_clock_that_is_wrong_ends_no_claim_early_and_dates_nothing_wrongly(
    cluster: Cluster, ahead: float
) -> None:
    """By the usual limits: 5 minutes to launch, 15 to register, 10 to initialize."""
    cloud, clock = FakeCloud(), ServerClock(Skewed(ahead))
    client = cluster.new_client(clock=clock)
    cloud.refuses_next(CreateError("QuotaExceeded", "none left"))
    async with cluster.provisioner(cloud, clock=clock, client=client):
        created = await cluster.create_claim("ws1")
        await cluster.says("ws1", "Launched", "QuotaExceeded")
        provider_id = await cluster.launched("ws1")
        await asyncio.sleep(0.3)
        await cluster.join(provider_id, "ws1", ready=False)
        await cluster.says("ws1", "Initialized", "NodeNotReady")
        await asyncio.sleep(0.3)

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert not claim.deleting
    born = created.metadata.creation_timestamp
    since = claim.condition("Registered").last_transition_time
    assert born is not None
    assert since is not None
    assert -3 < (since - born).total_seconds() < 30
    await cluster.balanced(cloud)


@SKEWS
async def test_a_clock_that_is_wrong_ends_a_claim_in_time(cluster: Cluster, ahead: float) -> None:
    cloud, clock = FakeCloud(), ServerClock(Skewed(ahead))
    client = cluster.new_client(clock=clock)
    timings = replace(QUICK, registration_timeout=2.0)
    async with cluster.provisioner(cloud, clock=clock, client=client, timings=timings):
        await cluster.create_claim("ws1")
        await cluster.launched("ws1")
        await cluster.deleted("ws1")

    assert cloud.instances == {}


async def test_two_provisioners_that_both_believe_to_lead_buy_nothing_twice(
    cluster: Cluster,
) -> None:
    cloud = BootingCloud(cluster.client)
    names = [f"ws{number}" for number in range(10)]
    async with cluster.provisioner(cloud), cluster.provisioner(cloud):
        await create_all(cluster, names)
        await all_ready(cluster, cloud, names)
        for name in names:
            node = await cluster.node(name)
            assert node is not None
            assert len(node.metadata.owner_references) == 1
        await delete_all(cluster, names)
        await all_gone(cluster, cloud, names)


async def test_a_provisioner_that_takes_over_while_the_old_one_lives_on_forgets_nobody(
    cluster: Cluster,
) -> None:
    """Half of the claims are launched, the other half are on their way out."""
    cloud = BootingCloud(cluster.client)
    old, new = NAMES[:2], NAMES[2:]
    async with cluster.provisioner(cloud) as first:
        await create_all(cluster, old)
        await all_ready(cluster, cloud, old)
        await create_all(cluster, new)
        await delete_all(cluster, old)
        async with cluster.provisioner(cloud):
            first.cancel()
            for name in new:
                await cluster.ready(name)
            for name in old:
                await cluster.gone(name)
            await cluster.balanced(cloud)
    assert len(cloud.made) == len(NAMES)
