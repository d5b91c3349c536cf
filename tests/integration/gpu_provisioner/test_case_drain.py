"""Who leaves a node, in what order, and who is asked: cases 46 to 55."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gpu_provisioner.node.eviction import Evictions
from gpu_provisioner.settings import Timings
from kube.clock import Clock
from kube.meta import Manifest, Resource
from kube.objects import NODES, PODS, VOLUME_ATTACHMENTS
from tests.integration.gpu_provisioner import ending
from tests.integration.gpu_provisioner.world import QUICK, BootingCloud, Cluster, eventually

SLOW: dict[str, Any] = {"terminationGracePeriodSeconds": 600}
"""Without a kubelet such a pod stays until the test ends it."""

GRACES: Resource[dict[str, Any]] = Resource("", "v1", "Pod", "pods", dict)
"""Pods whole: our own have no field for the seconds that they were given."""

BUDGETED = {"metadata": {"labels": {"app": "vllm"}}}


class Later(Clock):
    """A clock that is ahead."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._ahead


@asynccontextmanager
async def a_node(
    cluster: Cluster, *, timings: Timings = QUICK, **spec: Any
) -> AsyncIterator[BootingCloud]:
    """With a provisioner; the node has gone at the end, and its machine with it."""
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud, timings=timings):
        await cluster.create_claim("ws1", **spec)
        await cluster.ready("ws1")
        yield cloud
        await cluster.gone("ws1")
    assert cloud.instances == {}


def tolerating(**toleration: str) -> Manifest:
    everything = {"operator": "Exists", "effect": "NoExecute"}
    return {"spec": {"tolerations": [everything, toleration]}}


async def test_case_46_pods_that_tolerate_the_drain_are_left_to_the_end(cluster: Cluster) -> None:
    async with a_node(cluster):
        key = "karpenter.sh/disrupted"
        exists = tolerating(key=key, operator="Exists")
        equal = tolerating(key=key, operator="Equal", value="", effect="NoSchedule")
        unschedulable = tolerating(key="node.kubernetes.io/unschedulable", operator="Exists")
        await cluster.create_pod("exists", "ws1", **exists)
        await cluster.create_pod("equal", "ws1", **equal)
        await cluster.create_pod("unschedulable", "ws1", **unschedulable)
        await ending.delete(cluster)
        await ending.is_gone(cluster, "unschedulable")

    assert not await ending.leaving(cluster, "exists")
    assert not await ending.leaving(cluster, "equal")


async def test_case_47_static_and_finished_pods_are_not_waited_for(cluster: Cluster) -> None:
    async with a_node(cluster):
        await cluster.create_pod("static", "ws1", owner="Node")
        await cluster.create_pod("done", "ws1", phase="Succeeded")
        await cluster.create_pod("broken", "ws1", phase="Failed")
        await cluster.create_pod("lone", "ws1", owner="")
        await ending.delete(cluster)
        await ending.is_gone(cluster, "lone")

    for name in ("static", "done", "broken"):
        assert not await ending.leaving(cluster, name)


async def test_case_48_a_disruption_budget_holds_the_machine_until_it_yields(
    cluster: Cluster,
) -> None:
    async with a_node(cluster) as cloud:
        await cluster.create_budget("serving", {"app": "vllm"})
        await cluster.create_pod("p", "ws1", **BUDGETED)
        await ending.delete(cluster)

        assert "default/p" in await ending.told(cluster, "FailedDraining")
        await ending.nothing_is_leaked(cluster, cloud)
        claim = await cluster.claim("ws1")
        assert claim is not None
        assert claim.condition("Drained").reason == "Draining"
        assert not await ending.leaving(cluster, "p")

        await cluster.allow("serving", 1)


async def test_case_48_two_budgets_for_one_pod_are_told_and_not_stumbled_over(
    cluster: Cluster,
) -> None:
    async with a_node(cluster):
        await cluster.create_budget("one", {"app": "vllm"})
        await cluster.create_budget("two", {"app": "vllm"})
        await cluster.create_pod("p", "ws1", **BUDGETED)
        await ending.delete(cluster)

        assert "PodDisruptionBudget" in await ending.told(cluster, "FailedDraining")
        await ending.kill(cluster, "p")


async def test_case_49_one_group_after_the_other(cluster: Cluster) -> None:
    """Each goes only when the one before has gone, not when it has been told to."""
    critical = {"priorityClassName": "system-node-critical"}
    order = ["app", "daemon", "critical", "critical-daemon"]
    async with a_node(cluster):
        await cluster.create_pod("app", "ws1", spec=SLOW)
        await cluster.create_pod("daemon", "ws1", owner="DaemonSet", spec=SLOW)
        await cluster.create_pod("critical", "ws1", spec={**SLOW, **critical})
        await cluster.create_pod(
            "critical-daemon", "ws1", owner="DaemonSet", spec={**SLOW, **critical}
        )
        await ending.delete(cluster)

        for turn, name in enumerate(order):
            await ending.is_leaving(cluster, name)
            await asyncio.sleep(0.2)
            for later in order[turn + 1 :]:
                assert not await ending.leaving(cluster, later), (name, later)
            await ending.kill(cluster, name)


async def test_case_50_a_pod_that_will_not_end_is_bypassed_after_a_minute(
    cluster: Cluster,
) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1", spec={"terminationGracePeriodSeconds": 30})
        await ending.delete(cluster)
        await ending.is_leaving(cluster, "p")

    for ahead, bypassed in ((60, False), (95, True)):
        async with cluster.provisioner(cloud, clock=Later(ahead)):
            if bypassed:
                await cluster.gone("ws1")
            else:
                await asyncio.sleep(ending.A_WHILE)
                assert await cluster.node("ws1") is not None

    assert await ending.pod(cluster, "p") is not None
    assert cloud.instances == {}


async def test_case_51_a_new_pod_of_the_same_name_is_not_evicted_for_the_old_one(
    cluster: Cluster,
) -> None:
    await cluster.create_pod("p", "ws1")
    old = await ending.pod(cluster, "p")
    assert old is not None
    await ending.kill(cluster, "p")
    await cluster.create_pod("p", "ws1")

    assert await Evictions(cluster.client, cluster.events).evict(old) == ""

    assert not await ending.leaving(cluster, "p")
    assert cluster.events.told == []


async def test_case_52_the_deadline_beats_budgets_pod_by_pod_and_tier_by_tier(
    cluster: Cluster,
) -> None:
    """The deadline is 8 s away: who needs 6 s to end is made to after two; who needs 1 s is
    asked until the seventh."""
    async with a_node(cluster, terminationGracePeriod="8s"):
        await cluster.create_budget("serving", {"app": "vllm"})

        def needing(seconds: int) -> Manifest:
            return {**BUDGETED, "spec": {"terminationGracePeriodSeconds": seconds}}

        await cluster.create_pod("slow", "ws1", **needing(6))
        await cluster.create_pod("quick", "ws1", **needing(1))
        await cluster.create_pod("daemon", "ws1", owner="DaemonSet", **needing(6))
        await cluster.create_pod("ending", "ws1", **needing(600))
        await cluster.client.delete(PODS, "ending", namespace="default")
        await ending.delete(cluster)
        claim = await cluster.claim("ws1")
        assert claim is not None
        assert claim.metadata.deletion_timestamp is not None
        deadline = claim.metadata.deletion_timestamp + timedelta(seconds=8)

        async def brought_forward() -> None:
            assert await ends(cluster, "ending") <= deadline + timedelta(seconds=1)

        await eventually(brought_forward)
        assert not await ending.leaving(cluster, "slow")
        await ending.is_leaving(cluster, "slow", "daemon")
        assert datetime.now(UTC) >= deadline - timedelta(seconds=6)
        assert not await ending.leaving(cluster, "quick")
        assert 1 <= await grace(cluster, "slow") <= 6
        await ending.is_leaving(cluster, "quick")
        assert await grace(cluster, "quick") == 1
        await ending.kill(cluster, "slow", "quick", "daemon", "ending")


async def ends(cluster: Cluster, name: str) -> datetime:
    found = await ending.pod(cluster, name)
    assert found is not None
    assert found.metadata.deletion_timestamp is not None
    return found.metadata.deletion_timestamp


async def grace(cluster: Cluster, name: str) -> int:
    """The seconds that the pod was given."""
    (found,) = [
        each
        for each in (await cluster.client.list(GRACES, namespace="default")).items
        if each["metadata"]["name"] == name
    ]
    seconds: int = found["metadata"]["deletionGracePeriodSeconds"]
    return seconds


async def attach(cluster: Cluster, volume: str) -> None:
    await cluster.client.create(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": f"attach-{volume}"},
            "spec": {
                "attacher": "csi.example.com",
                "nodeName": "ws1",
                "source": {"persistentVolumeName": volume},
            },
        }
    )


async def detach(cluster: Cluster, volume: str) -> None:
    await cluster.client.delete(VOLUME_ATTACHMENTS, f"attach-{volume}")


async def test_case_53_volumes_of_pods_that_left_are_waited_for(cluster: Cluster) -> None:
    async with a_node(cluster) as cloud:
        await attach(cluster, "pv-1")
        await cluster.create_pod("p", "ws1")
        await ending.delete(cluster)

        assert "attach-pv-1" in await ending.told(cluster, "AwaitingVolumeDetachment")

        async def said() -> None:
            claim = await cluster.claim("ws1")
            assert claim is not None
            assert claim.condition("VolumesDetached").reason == "AwaitingVolumeDetachment"

        await eventually(said)
        assert cloud.deletes == []
        await detach(cluster, "pv-1")


async def test_case_53_those_of_pods_that_stay_are_not(cluster: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {
            "volumeName": "pv-2",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    await cluster.client.create(claim)
    staying = tolerating(operator="Exists")
    staying["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    async with a_node(cluster):
        await cluster.create_pod("p", "ws1", **staying)
        await attach(cluster, "pv-2")
        await ending.delete(cluster)


async def test_case_53_past_the_deadline_none_is(cluster: Cluster) -> None:
    async with a_node(cluster, terminationGracePeriod="4s") as cloud:
        await attach(cluster, "pv-3")
        await ending.delete(cluster)
        await ending.told(cluster, "AwaitingVolumeDetachment")
        assert cloud.deletes == []


async def test_case_54_an_empty_node_is_not_believed_at_once(cluster: Cluster) -> None:
    """Five seconds as it is shipped; a pod may have been bound just before the taint."""
    async with a_node(cluster, timings=replace(QUICK, min_drain=3.0)) as cloud:
        await ending.delete(cluster)
        await ending.node_ends(cluster)
        started = time.monotonic()

        async def machine_goes() -> None:
            assert cloud.deletes

        await eventually(machine_goes)
        # Conditions are dated in whole seconds, and it took a while to see the Node end.
        assert time.monotonic() - started > 0.9
    assert Timings().min_drain == 5.0


@pytest.mark.parametrize(
    "released", [pytest.param(True, id="taken off"), pytest.param(False, id="5s")]
)
async def test_case_55_a_pod_may_ask_not_to_be_disrupted(cluster: Cluster, released: bool) -> None:
    """`true` for ever, a duration only that long from the pod's start."""
    key = "karpenter.sh/do-not-disrupt"
    wish = "true" if released else "5s"
    async with a_node(cluster) as cloud:
        await cluster.create_pod("p", "ws1", metadata={"annotations": {key: wish}})
        await ending.delete(cluster)

        assert f"has annotation {key}" in await ending.told(cluster, "FailedDraining")
        assert not await ending.leaving(cluster, "p")
        assert len(cloud.instances) == 1
        if released:
            nothing = {"metadata": {"annotations": {key: None}}}
            await cluster.client.patch(PODS, "p", nothing, namespace="default")
    assert await ending.pod(cluster, "p") is None
    assert await cluster.client.get(NODES, "ws1") is None
