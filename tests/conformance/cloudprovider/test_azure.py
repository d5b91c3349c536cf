"""AKS keeps the contract, and what is its own: one gate, shared looks, pools that fail late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from apis.karpenter.v1 import labels
from cloudproviders.azure.looks import CREATE_LOOKS
from cloudproviders.errors import (
    CreateError,
    InsufficientCapacityError,
    NodeClaimNotFoundError,
)
from cloudproviders.provider import Instance, Pending
from kube.objects import NODES
from tests.conformance.cloudprovider.azure_world import OPERATION, AzureWorld
from tests.conformance.cloudprovider.identity import bare
from tests.conformance.cloudprovider.refusals import ON_DEMAND, WORDS, outcome
from tests.conformance.cloudprovider.suite import CloudProviderConformance
from tests.fakes.arm.aks import Pool, refused

LABELS = {"kaito.sh/workspace": "phi", "kaito.sh/workspacenamespace": "default"}


class TestAzure(CloudProviderConformance):
    world_class = AzureWorld

    # What is asked of ARM.

    async def test_one_claim_costs_one_write_and_a_look(self, world: AzureWorld) -> None:
        await world.launched(world.claim())

        assert (world.calls.reads, world.calls.writes) == (1, 1)

    async def test_an_end_costs_one_write_and_two_looks_at_most(self, world: AzureWorld) -> None:
        claim = world.claim()
        await world.launched(claim)
        world.calls.reads = world.calls.writes = 0

        await world.gone(claim)

        assert world.calls.writes == 1
        assert world.calls.reads <= 2

    async def test_who_saw_the_pool_earlier_does_not_end_it_again(self, world: AzureWorld) -> None:
        claim = world.claim()
        await world.launched(claim)
        cluster = world.provider._cluster  # type: ignore[attr-defined]
        seen = await cluster.pool_of(claim)
        world.calls.writes = 0

        await cluster.end(seen)
        await cluster.end(seen)

        assert world.calls.writes == 1

    async def test_a_pool_whose_node_is_ending_is_deleted_and_not_aborted(
        self, world: AzureWorld
    ) -> None:
        claim = world.claim()
        node = await world.node_of(await world.launched(claim))
        held = {"metadata": {"finalizers": ["karpenter.sh/termination"]}}
        await world.kube.patch(NODES, node.metadata.name, held)
        await world.kube.delete(NODES, node.metadata.name)

        await world.provider.delete(claim)

        assert world.arm.counts["POST abort"] == 0
        assert world.arm.counts["DELETE agentPool"] == 1

    async def test_slow_pools_are_looked_at_ever_less_often(self, world: AzureWorld) -> None:
        world.aks.create_seconds = 1000.0
        claim = world.claim()

        waits = []
        for _ in range(5):
            answer = await world.provider.create(claim)
            assert isinstance(answer, Pending)
            waits.append(answer.look_again)
            await world.tick(answer.look_again)

        assert waits == [30.0, 90.0, 120.0, 120.0, 120.0]
        assert world.calls.reads == 5

    async def test_what_is_told_meanwhile_stays_the_same(self, world: AzureWorld) -> None:
        claim = world.claim()

        first = await world.provider.create(claim)
        await world.tick(1.0)
        second = await world.provider.create(claim)

        assert isinstance(first, Pending)
        assert isinstance(second, Pending)
        assert first.message == second.message
        assert "Standard_NC24ads_A100_v4, on-demand in zone 1): Creating since" in first.message

    async def test_disruption_budgets_are_not_asked_again(self, world: AzureWorld) -> None:
        claim = world.claim()
        await world.launched(claim)
        world.aks.blocked_by_budget = True

        await world.gone(claim)

        assert await world.machines() == []

    # Operations, one at a time.

    async def test_serial_operations_queue_here(self, world: AzureWorld) -> None:
        world.aks.concurrency = 1
        claims = [world.claim(f"ws{n}") for n in range(5)]

        await world.all_launched(claims)
        await world.gone(*claims)

        assert world.aks.refused_busy <= 2  # how else could one know?
        assert world.aks.most_at_once == 1
        assert world.calls.writes == 10 + world.aks.refused_busy

    async def test_who_waits_reads_how_many_are_before_it(self, world: AzureWorld) -> None:
        world.aks.concurrency = 1
        for number in range(3):
            await world.provider.create(world.claim(f"ws{number}"))

        answer = await world.provider.create(world.claim("ws2"))

        assert isinstance(answer, Pending)
        assert answer.reason == "Waiting"
        assert "ws2 is number 2 in the queue" in answer.message

    async def test_an_operation_of_somebody_else_is_waited_for(self, world: AzureWorld) -> None:
        """An upgrade, say: nobody tells us of its end, so we come again ever less often."""
        world.refuse(f"{OPERATION}/in progress", times=3)

        made = await world.launched(world.claim())

        assert isinstance(made, Instance)
        assert world.clock.monotonic() >= 5 + 10 + 20
        assert world.calls.writes == 4

    async def test_an_end_waits_its_turn(self, world: AzureWorld) -> None:
        await world.launched(world.claim("ws0"))
        world.aks.concurrency = 1
        await world.provider.create(world.claim("ws1"))
        await world.provider.delete(world.claim("ws0"))

        assert world.aks.pools["ws0"].state == "Succeeded"
        await world.gone(world.claim("ws0"))
        assert "ws0" not in world.aks.pools

    async def test_an_end_that_two_want_at_once_is_one_call(self, world: AzureWorld) -> None:
        """The claim's end and its Node's: the second would be refused, and close the gate."""
        claim = world.claim()
        await world.launched(claim)

        await asyncio.gather(*(world.provider.delete(claim) for _ in range(3)))

        assert world.arm.counts["DELETE agentPool"] == 1
        assert world.aks.refused_busy == 0

    async def test_throttling_keeps_everybody_away(self, world: AzureWorld) -> None:
        world.throttle(1, retry_after=30.0)

        answers = [await world.provider.create(world.claim(f"ws{n}")) for n in range(4)]

        assert world.calls.reads + world.calls.writes == 1
        assert all(isinstance(each, Pending) and each.look_again == 30.0 for each in answers)
        await world.tick(30.0)
        assert isinstance(await world.launched(world.claim("ws0")), Instance)

    # Pools that come to nothing.

    async def test_case_07_quota_that_blocks_all_is_asked_once(self, world: AzureWorld) -> None:
        world.refuse(f"{OPERATION}/family quota", words=WORDS)
        claim = world.claim(capacity_types=ON_DEMAND)

        told = [await outcome(world, claim) for _ in range(5)]

        refused = told[-1]
        assert isinstance(refused, CreateError)
        assert refused.reason == "QuotaExceeded"
        assert "limit 48, in use 40, 24 more needed" in refused.message
        assert "https://aka.ms/ProdportalCRP" in refused.message
        assert world.calls.writes == 1

    async def test_quota_of_one_size_leaves_the_others(self, world: AzureWorld) -> None:
        first, second = world.types
        world.refuse(f"{OPERATION}/family quota", instance_type=first)

        made = await world.launched(
            world.claim(instance_types=[first, second], capacity_types=ON_DEMAND)
        )

        assert made.instance_type == second

    async def test_a_failure_that_no_rung_cures_is_told_and_not_repeated_at_once(
        self, world: AzureWorld
    ) -> None:
        world.refuse("VMExtensionProvisioningError", late=True, times=1, words=WORDS)
        claim = world.claim()

        told = await outcome(world, claim)
        writes = world.calls.writes
        again = await outcome(world, claim)

        assert isinstance(told, CreateError)
        assert told.reason == "VMExtensionProvisioningError"
        assert isinstance(again, CreateError)
        assert world.calls.writes == writes
        assert await world.machines() == []
        await world.tick(120.0)
        assert isinstance(await outcome(world, claim), Instance)

    async def test_a_setback_is_told_while_the_next_pool_is_made(self, world: AzureWorld) -> None:
        world.refuse("AllocationFailed", late=True, times=1, words=WORDS)
        claim = world.claim(instance_types=world.types)
        told = []
        for _ in range(8):
            answer = await world.provider.create(claim)
            if isinstance(answer, Instance):
                break
            told.append(answer.message)
            await world.tick(answer.look_again)

        assert any("failed: AllocationFailed" in each and "deleting it" in each for each in told)
        assert "before that: AllocationFailed" in told[-1]

    async def test_a_canceled_pool_is_made_anew(self, world: AzureWorld) -> None:
        claim = world.claim()
        await world.provider.create(claim)
        world.arm.operations.cancel(world.arm.operations.running[0])
        world.aks.pools[claim.metadata.name].state = "Canceled"

        await world.tick(CREATE_LOOKS[0])

        assert isinstance(await world.launched(claim), Instance)
        assert len(await world.machines()) == 1

    async def test_a_pool_in_the_making_is_aborted_before_it_is_deleted(
        self, world: AzureWorld
    ) -> None:
        world.aks.create_seconds = 1000.0
        claim = world.claim()
        await world.provider.create(claim)

        await world.gone(bare(claim))

        assert world.arm.counts["POST abort"] == 1
        assert world.clock.monotonic() < 60.0

    async def test_a_pool_that_somebody_deletes_meanwhile_is_ordered_again(
        self, world: AzureWorld
    ) -> None:
        claim = world.claim()
        await world.provider.create(claim)
        world.arm.operations.cancel(world.arm.operations.running[0])
        del world.aks.pools[claim.metadata.name]

        await world.tick(CREATE_LOOKS[0])

        assert isinstance(await world.launched(claim), Instance)

    async def test_100_pools_are_all_there_can_be(self, world: AzureWorld) -> None:
        for number in range(100):
            await world.foreign_instance(f"byhand{number}")

        told = await outcome(world, world.claim())

        assert isinstance(told, CreateError)
        assert told.reason == "QuotaExceeded"
        assert "100 of the 100 agent pools" in told.message
        assert world.calls.writes == 0

    # Machines.

    async def test_case_43_an_evicted_machine_is_gone_though_its_pool_is_not(
        self, world: AzureWorld
    ) -> None:
        made = await world.launched(world.claim())
        world.aks.machines.clear()

        with pytest.raises(NodeClaimNotFoundError):
            await world.provider.get(made.provider_id)

    async def test_a_node_of_an_earlier_pool_of_that_name_is_not_taken_for_ours(
        self, world: AzureWorld
    ) -> None:
        first = world.claim(uid="00000000-0000-4000-8000-000000000001")
        made = await world.launched(first)
        node = world.kube.manifest(NODES, (await world.node_of(made)).metadata.name)
        assert node is not None
        await world.gone(first)
        node["metadata"]["name"] = "left-behind"
        world.kube.add(node)

        second = world.claim(uid="00000000-0000-4000-8000-000000000002")
        answers = [await world.provider.create(second) for _ in range(2)]

        assert all(isinstance(answer, Pending) for answer in answers)

    async def test_a_reservation_is_used_up_first(self, world: AzureWorld) -> None:
        await _with(world, AZURE_CAPACITY_RESERVATIONS=f"{world.types[0]}=/groups/a100")

        made = await world.launched(world.claim())
        world.refuse("OverconstrainedAllocationRequest", capacity_type="on-demand", times=2)
        other = await world.launched(world.claim("ws2"))

        assert made.capacity_type == labels.CAPACITY_RESERVED
        ordered = world.aks.pools[made.name].properties
        assert ordered["capacityReservationGroupID"] == "/groups/a100"
        assert other.capacity_type == labels.CAPACITY_ON_DEMAND

    async def test_a_size_that_the_catalogue_lacks_can_be_had_by_name(
        self, world: AzureWorld
    ) -> None:
        made = await world.launched(world.claim(instance_types=["Standard_NC6s_v3"]))

        assert made.instance_type == "Standard_NC6s_v3"

    async def test_a_zone_that_a_claim_names_is_kept_though_the_operator_named_none(
        self, world: AzureWorld
    ) -> None:
        await _with(world, AZURE_ZONES="")

        anywhere = await world.launched(world.claim("ws1"))
        there = await world.launched(world.claim("ws2", zones=["emulator-3"]))

        assert (anywhere.zone, there.zone) == ("", "emulator-3")
        assert world.aks.pools["ws2"].properties["availabilityZones"] == ["3"]

    # What the Go gpu-provisioner left.

    async def test_predecessors_pools_are_adopted_by_claims_of_their_name(
        self, world: AzureWorld
    ) -> None:
        claim = world.claim()
        await _predecessor(world, claim.metadata.name)

        made = await world.launched(claim)

        assert made.name == claim.metadata.name
        assert world.calls.writes == 0
        assert made.created == datetime(2026, 1, 1, tzinfo=UTC)
        await world.gone(claim)
        assert await world.machines() == []

    async def test_predecessors_pools_are_never_garbage(self, world: AzureWorld) -> None:
        claim = world.claim()
        await _predecessor(world, claim.metadata.name)

        listed = await world.provider.list()

        assert listed == []
        with pytest.raises(NodeClaimNotFoundError):
            await world.provider.delete(bare(claim))

    async def test_no_permission_is_told_with_the_remedy(self, world: AzureWorld) -> None:
        denied = refused(403, "AuthorizationFailed", "no permission to read agent pools")
        world.arm.fault(matches=lambda call: call.method == "GET", refusal=denied)

        told = await outcome(world, world.claim())

        assert isinstance(told, CreateError)
        assert told.reason == "AuthorizationFailed"
        assert "docs/clouds/azure.md" in told.message

    async def test_200_claims_share_their_looks(self, world: AzureWorld) -> None:
        await _with(world, AZURE_MAX_AGENT_POOLS="300")
        world.aks.pool_limit = 300
        claims = [world.claim(f"ws{number}") for number in range(200)]

        answers = await asyncio.gather(*(world.provider.create(claim) for claim in claims))

        assert all(isinstance(each, Pending) for each in answers)
        assert (world.calls.reads, world.calls.writes) == (1, 200)
        assert world.aks.most_at_once == 200

    async def test_nothing_left_of_spot_alone(self, world: AzureWorld) -> None:
        world.refuse("SkuNotAvailable", capacity_type="spot", words=WORDS)

        told = await outcome(world, world.claim(capacity_types=[labels.CAPACITY_SPOT]))

        assert isinstance(told, InsufficientCapacityError)
        assert WORDS in str(told)


async def _with(world: AzureWorld, **given: str) -> None:
    """A process with other settings."""
    world.more = given
    world.configure()
    await world.restart()


async def _predecessor(world: AzureWorld, name: str) -> None:
    """A pool as gpu-provisioner 0.4.3 made it, and its Node."""
    stamp = {"kaito.sh/creation-timestamp": "2026-01-01T00-00-00Z"}
    properties = {
        "vmSize": world.types[0],
        "nodeLabels": {**LABELS, **stamp, "karpenter.sh/nodepool": "kaito"},
    }
    path = f"/subscriptions/s/resourceGroups/g/providers/m/managedClusters/c/agentPools/{name}"
    pool = Pool(path, name, properties, state="Succeeded")
    world.aks.pools[name] = pool
    await world.aks.on_ready(pool)
