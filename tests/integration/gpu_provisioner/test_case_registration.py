"""Cases 11 to 20: a Node joins for a claim, and carries what the claim says of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.informer import Informer
from kube.objects import NODES, Node
from tests.fakes.cloud import FakeCloud
from tests.integration.gpu_provisioner.world import Cluster, eventually

UNREGISTERED = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}
SKU = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
WARM = {"key": "warm", "effect": "NoExecute"}


async def registered(cluster: Cluster, name: str = "ws1") -> Node:
    await cluster.says(name, "Registered", "Registered")
    claim = await cluster.claim(name)
    assert claim is not None
    node = await cluster.node(claim.status.node_name)
    assert node is not None
    return node


async def forget(cluster: Cluster, name: str = "ws1") -> None:
    """As a crash before the claim's status was written."""
    await cluster.client.patch(
        NODE_CLAIMS, name, {"status": {"conditions": None}}, subresource="status"
    )


async def test_case_11_the_node_with_the_provider_id_is_the_claims(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        await cluster.create_claim("ws1")
        await cluster.join(await cluster.launched("ws1"), "node-7")
        await registered(cluster)

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert claim.is_true("Registered")
    assert claim.status.node_name == "node-7"


async def test_case_12_a_node_with_another_provider_id_is_not(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        await cluster.create_claim("ws1")
        await cluster.launched("ws1")
        await cluster.join("fake:///another/1", "ws1")
        await asyncio.sleep(0.3)
        said = await cluster.says("ws1", "Registered", "NodeNotFound")

    assert (said.status, said.message) == ("Unknown", "Node not registered with cluster")
    node = await cluster.node("ws1")
    assert node is not None
    assert node.metadata.finalizers == ()


async def test_case_13_two_nodes_of_one_machine_are_none(cluster: Cluster) -> None:
    cloud = FakeCloud()
    await cluster.create_claim("ws1")
    async with cluster.provisioner(cloud):
        provider_id = await cluster.launched("ws1")
    for name in ("a", "b"):
        await cluster.join(provider_id, name)

    async with cluster.provisioner(cloud):
        said = await cluster.says("ws1", "Registered", "MultipleNodesFound")
        assert said.status == "False"
        assert said.message == "Invariant violated, matched multiple nodes"
        await cluster.client.delete(NODES, "b")
        await asyncio.sleep(0.3)

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert claim.condition("Registered").reason == "MultipleNodesFound"
    assert claim.condition("Ready").status == "False"


async def test_case_14_the_node_is_owned_held_and_labelled_once(cluster: Cluster) -> None:
    cloud = FakeCloud()
    async with cluster.provisioner(cloud):
        claim = await cluster.create_claim("ws1")
        await cluster.join(await cluster.launched("ws1"), "ws1")
        await registered(cluster)
    await forget(cluster)

    async with cluster.provisioner(cloud):
        node = await registered(cluster)

    (owner,) = node.metadata.owner_references
    assert (owner.api_version, owner.kind, owner.name, owner.uid) == (
        "karpenter.sh/v1",
        "NodeClaim",
        "ws1",
        claim.metadata.uid,
    )
    assert owner.block_owner_deletion is True
    assert node.metadata.finalizers == ("karpenter.sh/termination",)
    assert node.metadata.labels["karpenter.sh/registered"] == "true"


@asynccontextmanager
async def watched(cluster: Cluster) -> AsyncIterator[list[Node]]:
    """Every state that a Node goes through."""
    seen: list[Node] = []
    informer = Informer(cluster.client, NODES)
    informer.subscribe(lambda old, new: seen.append(new) if new is not None else None)
    running = asyncio.create_task(informer.run())
    await informer.synced.wait()
    try:
        yield seen
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_case_15_pods_are_let_in_only_when_all_is_in_place(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()), watched(cluster) as states:
        await cluster.create_claim("ws1", labels={"kaito.sh/workspace": "phi"}, taints=[SKU])
        await cluster.join(await cluster.launched("ws1"), "ws1")
        await cluster.ready("ws1")

    def keys(node: Node) -> set[str]:
        return {taint.key for taint in node.spec.taints}

    let_in = [
        node
        for before, node in itertools.pairwise(states)
        if UNREGISTERED["key"] in keys(before) and UNREGISTERED["key"] not in keys(node)
    ]
    (node,) = let_in
    assert node.metadata.labels["kaito.sh/workspace"] == "phi"
    assert node.metadata.labels["karpenter.sh/registered"] == "true"
    assert keys(node) == {"sku"}


async def test_case_16_a_node_that_lacks_the_taint_registers_with_a_warning(
    cluster: Cluster,
) -> None:
    async with cluster.provisioner(FakeCloud()):
        await cluster.create_claim("ws1")
        await cluster.join(await cluster.launched("ws1"), "ws1", taints=[])
        await registered(cluster)

    assert cluster.events.reasons().count("UnregisteredTaintMissing") == 1


async def test_case_17_the_claims_labels_and_annotations_reach_the_node(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        await cluster.create_claim("ws1", labels={"kaito.sh/workspace": "phi"})
        annotation = {"karpenter.sh/do-not-disrupt": "true"}
        await cluster.client.patch(NODE_CLAIMS, "ws1", {"metadata": {"annotations": annotation}})
        await cluster.join(
            await cluster.launched("ws1"),
            "ws1",
            labels={"own": "label", "kaito.sh/workspace": "stale"},
            annotations={"own": "annotation"},
        )
        node = await registered(cluster)

    claim = await cluster.claim("ws1")
    assert claim is not None
    assert claim.metadata.labels.items() <= node.metadata.labels.items()
    assert node.metadata.labels["kaito.sh/workspace"] == "phi"
    assert node.metadata.labels["own"] == "label"
    assert node.metadata.annotations["own"] == "annotation"
    assert node.metadata.annotations["karpenter.sh/do-not-disrupt"] == "true"


@pytest.mark.parametrize(
    ("value", "taints"),
    [("true", ["own"]), ("yes", ["own", "sku", "warm"]), ("", ["own", "sku", "warm"])],
)
async def test_case_18_taints_are_merged_unless_the_node_forbids_it(
    cluster: Cluster, value: str, taints: list[str]
) -> None:
    own = {"key": "own", "effect": "NoSchedule"}
    async with cluster.provisioner(FakeCloud()):
        await cluster.create_claim("ws1", taints=[SKU], startupTaints=[WARM])
        await cluster.join(
            await cluster.launched("ws1"),
            "ws1",
            taints=[UNREGISTERED, own],
            labels={"karpenter.sh/do-not-sync-taints": value},
        )
        node = await registered(cluster)

    assert [taint.key for taint in node.spec.taints] == taints


async def test_case_19_a_startup_taint_that_was_taken_off_stays_off(cluster: Cluster) -> None:
    """Though the claim be registered once more, having forgotten that it was."""
    cloud = FakeCloud()
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", startupTaints=[WARM])
        await cluster.join(await cluster.launched("ws1"), "ws1")
        await registered(cluster)
        await cluster.client.patch(NODES, "ws1", {"spec": {"taints": None}})
        await cluster.ready("ws1")
    await forget(cluster)

    async with cluster.provisioner(cloud):
        await cluster.ready("ws1")

    node = await cluster.node("ws1")
    assert node is not None
    assert node.spec.taints == ()


class Gate:
    """A hook that a test opens; it labels whom it lets in."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.open = False
        self.asked = 0

    async def __call__(self, claim: NodeClaim, node: Node, /) -> dict[str, str] | float:
        self.asked += 1
        return {f"example.com/{self.__name__}": "passed"} if self.open else 0.1


async def test_case_20_hooks_hold_the_node_by_name_and_label_it(cluster: Cluster) -> None:
    cloud, network, driver = FakeCloud(), Gate("network"), Gate("driver")
    cloud.registration_hooks = (network, driver)

    async def held_by(names: str) -> None:
        said = await cluster.says("ws1", "Registered", "RegistrationHookPending")
        assert (said.status, said.message) == ("Unknown", names)

    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.join(await cluster.launched("ws1"), "ws1")
        await eventually(lambda: held_by("network, driver"))
        network.open = True
        await eventually(lambda: held_by("driver"))
        node = await cluster.node("ws1")
        assert node is not None
        assert [taint.key for taint in node.spec.taints] == [UNREGISTERED["key"]]
        driver.open = True
        node = await registered(cluster)

    passed = {"example.com/network": "passed", "example.com/driver": "passed"}
    claim = await cluster.claim("ws1")
    assert claim is not None
    assert passed.items() <= claim.metadata.labels.items()
    assert passed.items() <= node.metadata.labels.items()
    assert UNREGISTERED["key"] not in {taint.key for taint in node.spec.taints}
