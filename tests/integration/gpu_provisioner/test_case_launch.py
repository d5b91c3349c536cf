"""Cases 1 to 10: what becomes of a claim until the cloud has a machine for it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.errors import (
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
)
from cloudproviders.nodeclass import NodeClass, NodeClassCondition, NodeClassStatus
from cloudproviders.provider import GroupKind, Instance, Pending
from gpu_provisioner import metrics
from kube.client import Client
from kube.errors import ServerError
from kube.meta import Resource, Status
from kube.objects import Node
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud
from tests.integration.gpu_provisioner.world import CLASSES, Cluster, eventually

HELD = "test.kaito.sh/hold"
"""A finalizer of somebody else's, by which a claim can be looked at after its end."""

KIND = GroupKind("test.kaito.sh", "TestNodeClass")
REF = {"group": "test.kaito.sh", "kind": "TestNodeClass", "name": "gpu"}
HASH = {
    "test.kaito.sh/testnodeclass-hash": "abc",
    "test.kaito.sh/testnodeclass-hash-version": "kaito-v1",
}


async def create_held(cluster: Cluster, name: str = "ws1", **given: Any) -> None:
    manifest = objects.claim_manifest(name, **given)
    manifest["metadata"]["finalizers"] = [HELD]
    await cluster.client.create(manifest)


async def ended(cluster: Cluster, name: str = "ws1") -> NodeClaim:
    """The claim as it was left: deleted, and held by nobody but the test."""

    async def is_ended() -> NodeClaim:
        claim = await cluster.claim(name)
        assert claim is not None
        assert claim.deleting
        assert claim.metadata.finalizers == (HELD,)
        return claim

    return await eventually(is_ended)


def given_up(reason: str) -> float:
    """How many claims were, for that reason."""
    return sum(
        sample.value
        for family in metrics.CLAIMS_DISRUPTED.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["reason"] == reason
    )


async def test_case_01_one_machine_is_bought_and_the_claim_tells_of_it(cluster: Cluster) -> None:
    cloud = FakeCloud()
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", labels={"kaito.sh/workspace": "phi"})
        provider_id = await cluster.launched("ws1")
        await cluster.says("ws1", "Launched", "Launched")
        await asyncio.sleep(0.3)

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert cloud.count("create") == 1
    assert provider_id == "fake:///ws1/1"
    assert claim.is_true("Launched")
    assert claim.status.image_id == "image-1"
    assert claim.status.capacity["nvidia.com/gpu"] == "1"
    assert claim.status.allocatable["cpu"] == "7"
    assert claim.metadata.labels == {
        "kaito.sh/workspace": "phi",
        "kaito.sh/kaitonodeclass": "default",
        "node.kubernetes.io/instance-type": "fake-gpu-1",
        "topology.kubernetes.io/zone": "fake-a",
        "karpenter.sh/capacity-type": "on-demand",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    }


async def test_case_01_what_the_cloud_does_meanwhile_can_be_read(cluster: Cluster) -> None:
    cloud = FakeCloud()
    cloud.is_at_work(
        Pending(message="agent pool ws1: Creating, 1 s", look_again=0.5),
        Pending(message="agent pool ws1: Creating, 2 s", look_again=0.1),
    )
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        said = await cluster.says("ws1", "Launched", "Provisioning")
        assert said.message == "agent pool ws1: Creating, 1 s"
        await cluster.launched("ws1")

    assert cloud.count("create") == 3
    assert "InstanceOrdered" in cluster.events.reasons()
    claim = await cluster.claim("ws1")
    assert claim is not None
    assert not claim.is_true("InstanceOrdered")


class Labelling(FakeCloud):
    """Whose nodes say whose they are, as those of managed pools do."""

    def claim_of(self, node: Node, /) -> str:
        return node.metadata.labels.get("agentpool", "")


async def test_case_01_the_node_of_an_order_wakes_its_claim(cluster: Cluster) -> None:
    """Long before anybody meant to look again."""
    cloud = Labelling()
    cloud.is_at_work(Pending(message="agent pool ws1: Creating, 1 s", look_again=3600))
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.says("ws1", "Launched", "Provisioning")
        await cluster.join("fake:///ws1/1", "node-7", labels={"agentpool": "ws1"})
        claim = await cluster.ready("ws1")

    assert claim.status.node_name == "node-7"


class Witness(FakeCloud):
    """Looks at the claim, as it is stored, at the moment that a machine is asked for."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self.finalizers: list[tuple[str, ...]] = []

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        stored = await self._client.get(NODE_CLAIMS, claim.metadata.name)
        assert stored is not None
        self.finalizers.append(stored.metadata.finalizers)
        return await super().create(claim)


async def test_case_03_the_finalizer_is_stored_before_the_cloud_is_asked(cluster: Cluster) -> None:
    cloud = Witness(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.launched("ws1")

    assert cloud.finalizers == [("karpenter.sh/termination",)]


async def test_case_04_no_capacity_is_told_before_the_claim_goes(cluster: Cluster) -> None:
    cloud, before = FakeCloud(), given_up("insufficient_capacity")
    rungs = "; ".join(f"Standard_{n} (spot): sold out" for n in range(20))
    cloud.refuses_next(InsufficientCapacityError(rungs))
    await create_held(cluster)
    async with cluster.provisioner(cloud):
        claim = await ended(cluster)

    said = claim.condition("Launched")
    assert (said.status, said.reason, said.message) == (
        "Unknown",
        "InsufficientCapacityError",
        rungs,
    )
    (told,) = cluster.events.told
    assert (told.reason, told.message) == ("InsufficientCapacityError", rungs)
    assert given_up("insufficient_capacity") == before + 1
    assert cloud.made == []


@pytest.fixture
async def classes(cluster: Cluster) -> AsyncIterator[None]:
    """An API server that has a kind of node class, and none of it before and after."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"kind": CLASSES.kind, "plural": CLASSES.plural}
    await cluster.client.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{CLASSES.plural}.{CLASSES.group}"},
            "spec": {
                "group": CLASSES.group,
                "names": names,
                "scope": "Cluster",
                "versions": [version],
            },
        }
    )

    async def served() -> None:
        await cluster.client.list(CLASSES)

    await eventually(served)
    yield
    for each in (await cluster.client.list(CLASSES)).items:
        name = each.metadata.name
        await cluster.client.patch(CLASSES, name, {"metadata": {"finalizers": None}})
        await cluster.client.delete(CLASSES, name)


def classy() -> FakeCloud:
    cloud = FakeCloud()
    cloud.node_classes = (KIND,)
    cloud.node_class_resources = (CLASSES,)
    return cloud


def judged(status: Status) -> NodeClassStatus:
    subnets = NodeClassCondition("SubnetsReady", status, "NoSubnets", "none found")
    return NodeClassStatus(conditions=[subnets], hash="abc")


async def create_class(cluster: Cluster) -> None:
    """Held, so that it can be seen being deleted."""
    await cluster.client.create(
        {
            "apiVersion": "test.kaito.sh/v1",
            "kind": "TestNodeClass",
            "metadata": {"name": "gpu", "finalizers": [HELD]},
        }
    )


@pytest.mark.usefixtures("classes")
@pytest.mark.parametrize("lacking", ["missing", "not ready", "being deleted"])
async def test_case_05_a_claim_of_a_class_that_is_no_use_is_given_up(
    cluster: Cluster, lacking: str
) -> None:
    if lacking != "missing":
        await create_class(cluster)
    if lacking == "being deleted":
        await cluster.client.delete(CLASSES, "gpu")
    cloud, before = classy(), given_up("nodeclass_not_ready")
    cloud.class_status = judged("False")
    await create_held(cluster, node_class_ref=REF)

    async with cluster.provisioner(cloud):
        claim = await ended(cluster)

    message = {
        "missing": "does not exist: create it, or refer to one that does",
        "not ready": "is not ready: NoSubnets: none found",
        "being deleted": "is being deleted: refer to another",
    }[lacking]
    (told,) = [each for each in cluster.events.told if each.kind == "NodeClaim"]
    assert told.reason == claim.condition("Launched").reason == "NodeClassNotReady"
    assert told.message == f"node class gpu (TestNodeClass.test.kaito.sh) {message}"
    assert given_up("nodeclass_not_ready") == before + 1
    assert cloud.count("create") == 0


@pytest.mark.usefixtures("classes")
async def test_case_05_a_class_that_nobody_has_judged_is_waited_for(cluster: Cluster) -> None:
    await create_class(cluster)
    cloud = classy()
    cloud.class_status = judged("Unknown")
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", node_class_ref=REF)
        await cluster.says("ws1", "Launched", "NodeClassReadinessUnknown")
        assert cloud.count("create") == 0
        cloud.class_status = judged("True")
        since = time.monotonic()
        await cluster.client.patch(CLASSES, "gpu", {"metadata": {"annotations": {"look": "again"}}})
        await cluster.launched("ws1")
        assert time.monotonic() - since < 9  # sooner than by looking again

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert claim.metadata.annotations == HASH


async def test_case_05_a_kind_of_class_that_is_not_served_is_waited_for(cluster: Cluster) -> None:
    cloud = classy()
    nowhere: Resource[NodeClass] = Resource(
        "test.kaito.sh", "v1", "OtherNodeClass", "othernodeclasses", NodeClass, namespaced=False
    )
    cloud.node_classes = (GroupKind("test.kaito.sh", "OtherNodeClass"),)
    cloud.node_class_resources = (nowhere,)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", node_class_ref={**REF, "kind": "OtherNodeClass"})
        said = await cluster.says("ws1", "Launched", "NodeClassReadinessUnknown")

    assert said.message == (
        "there are no node classes OtherNodeClass.test.kaito.sh: install their CRD"
    )
    assert cloud.count("create") == 0


class Timed(FakeCloud):
    """Notes when it was asked for a machine."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        self.asked.append(time.monotonic())
        return await super().create(claim)


async def test_case_06_a_refusal_stands_on_the_claim_and_is_retried_ever_later(
    cluster: Cluster,
) -> None:
    """Its words differ each time, as with clouds that add the request's id: that wakes nobody."""
    cloud = Timed()
    cloud.refuses_next(*(CreateError("QuotaExceeded", f"32 of 30; id {n}") for n in range(3)))
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        said = await cluster.says("ws1", "Launched", "QuotaExceeded")
        assert (said.status, said.message) == ("Unknown", "32 of 30; id 0")
        await cluster.launched("ws1")

    told = [each.message for each in cluster.events.told if each.reason == "QuotaExceeded"]
    assert told == ["32 of 30; id 0"]

    # Timers are never early: 1, 2, 4 s, and no try in between.
    gaps = [later - sooner for sooner, later in itertools.pairwise(cloud.asked)]
    assert [gap >= least for gap, least in zip(gaps, (0.99, 1.99, 3.99), strict=True)] == [True] * 3


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(CloudUnavailableError("x" * 400), id="of the contract"),
        pytest.param(TimeoutError("x" * 400), id="of the network"),
    ],
)
async def test_case_07_an_unknown_error_is_cut(cluster: Cluster, failure: Exception) -> None:
    cloud = FakeCloud()
    cloud.refuses_next(failure)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        said = await cluster.says("ws1", "Launched", "LaunchFailed")
        assert said.status == "Unknown"
        assert said.message == "x" * 300 + "..."
        await cluster.launched("ws1")


async def test_case_07_what_is_outside_the_contract_is_told_and_retried(cluster: Cluster) -> None:
    """A provider that lets one slip must not keep a claim from its time-out."""
    cloud = FakeCloud()
    cloud.refuses_next(OverflowError("secret"))
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        said = await cluster.says("ws1", "Launched", "LaunchFailed")
        assert said.message == "unexpected OverflowError: see the provisioner's log"
        await cluster.launched("ws1")


class Forgetful(Client):
    """Whose first writes of a status come to nothing."""

    failures = 2

    async def patch(self, *given: Any, subresource: str = "", **named: Any) -> Any:
        if subresource == "status" and self.failures:
            self.failures -= 1
            raise ServerError(500, "InternalError", "etcd has gone away")
        return await super().patch(*given, subresource=subresource, **named)


async def test_case_08_a_status_that_cannot_be_written_buys_no_second_machine(
    cluster: Cluster,
) -> None:
    cloud = FakeCloud()
    await cluster.create_claim("ws1")
    async with cluster.provisioner(cloud, client=cluster.new_client(Forgetful)):
        await cluster.launched("ws1")

    assert len(cloud.made) == 1
    await cluster.balanced(cloud)


async def test_case_08_nor_does_a_restart_that_has_forgotten_it(cluster: Cluster) -> None:
    cloud = FakeCloud()
    await cluster.create_claim("ws1")
    async with cluster.provisioner(cloud):
        await cluster.launched("ws1")
    lost = {"status": {"conditions": None, "providerID": None}}
    await cluster.client.patch(NODE_CLAIMS, "ws1", lost, subresource="status")

    async with cluster.provisioner(cloud):
        await cluster.launched("ws1")

    assert len(cloud.made) == 1
    await cluster.balanced(cloud)


async def test_case_09_the_claims_own_labels_win(cluster: Cluster) -> None:
    cloud = FakeCloud()
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", labels={"kubernetes.io/arch": "mine"})
        await cluster.launched("ws1")

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert claim.metadata.labels["kubernetes.io/arch"] == "mine"
    assert claim.metadata.labels["kubernetes.io/os"] == "linux"


async def test_case_10_the_first_conditions_are_dated_as_the_claim(cluster: Cluster) -> None:
    cloud = FakeCloud()
    cloud.outage = CreateError("QuotaExceeded", "none left")
    created = await cluster.create_claim("ws1")
    await asyncio.sleep(1.1)
    async with cluster.provisioner(cloud):
        await cluster.says("ws1", "Launched", "QuotaExceeded")

    claim = await cluster.claim("ws1")
    assert claim is not None
    for kind in ("Launched", "Registered", "Initialized", "Ready"):
        said = claim.condition(kind)
        assert said.status == "Unknown"
        assert said.last_transition_time == created.metadata.creation_timestamp
        if kind in {"Registered", "Initialized"}:
            assert (said.reason, said.message) == (
                "NodeNotFound" if kind == "Registered" else "AwaitingReconciliation",
                "Node not registered with cluster"
                if kind == "Registered"
                else "object is awaiting reconciliation",
            )
