"""The real Karpenter instead of gpu-provisioner, by changing chart values only."""

from __future__ import annotations

import pytest

from apis.karpenter.v1.labels import (
    CAPACITY_TYPE_LABEL,
    INITIALIZED_LABEL,
    INSTANCE_TYPE_LABEL,
    NODEPOOL_LABEL,
    REGISTERED_LABEL,
)
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.objects import NODES, Node
from tests.conformance.karpenter.programs import eventually
from tests.conformance.karpenter.swapped import Swapped

pytestmark = pytest.mark.integration

STANDALONE, POOLED = "nodeclaim", "karpenter"
"""The one value in which the modes differ."""
PRESET = {"preset": {"name": "phi-4-mini-instruct"}}
OWNED: dict[str, dict[str, str]] = {
    STANDALONE: {"kaito.sh/workspace": "phi", "kaito.sh/workspacenamespace": "default"},
    POOLED: {
        "karpenter.kaito.sh/workspace-name": "phi",
        "karpenter.kaito.sh/workspace-namespace": "default",
        NODEPOOL_LABEL: "default-phi",
    },
}


@pytest.fixture(params=[STANDALONE, POOLED])
def mode(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


async def test_a_workspace_goes_to_ready_nodes_and_leaves_nothing(
    swapped: Swapped, mode: str
) -> None:
    async with swapped.controller(nodeProvisioner=mode):
        await swapped.create("phi", instanceType="kwok-a10-1", inference=PRESET)
        (node,) = nodes = await swapped.ready("phi", 1)
        _is_karpenters(node, OWNED[mode] | {"apps": "phi", INSTANCE_TYPE_LABEL: "kwok-a10-1"})
        assert await swapped.placed("phi", nodes)
        (claim,) = await swapped.claims()
        assert claim.status.node_name == node.metadata.name
        assert claim.spec.expire_after == "Never"
        assert OWNED[mode].items() <= claim.metadata.labels.items()
        assert (NODEPOOL_LABEL in claim.metadata.labels) == (mode == POOLED)
        assert [each.metadata.name for each in await swapped.pools()] == (
            ["default-phi"] if mode == POOLED else []
        )
        await swapped.end("phi")
    assert swapped.complaints() == []


def _is_karpenters(node: Node, labels: dict[str, str]) -> None:
    """Registered and initialized, with what was asked for on it and nothing that keeps pods off
    but the taint that their tolerations know."""
    done = {REGISTERED_LABEL: "true", INITIALIZED_LABEL: "true"}
    assert (labels | done).items() <= node.metadata.labels.items()
    assert node.metadata.labels[CAPACITY_TYPE_LABEL] == "on-demand", "spot is cheaper"
    assert [(each.key, each.value, each.effect) for each in node.spec.taints] == [
        ("sku", "gpu", "NoSchedule")
    ]


async def test_nodes_are_added_and_replaced(swapped: Swapped, mode: str) -> None:
    """By a longer context, and by a Node's end while no controller of ours runs."""
    async with swapped.controller(nodeProvisioner=mode):
        await swapped.configure("options", max_model_len=16384)
        await swapped.create(
            "phi", instanceType="kwok-a10-1", inference={**PRESET, "config": "options"}
        )
        (first,) = await swapped.ready("phi", 1)
        await swapped.placed("phi", [first])
        await swapped.configure("options", max_model_len=131072)
        both = await swapped.ready("phi", 2)
        assert first.metadata.name in [each.metadata.name for each in both]
        await swapped.placed("phi", both)
    known = {each.metadata.name for each in await swapped.claims()}
    await swapped.client.delete(NODES, first.metadata.name)
    async with swapped.controller(nodeProvisioner=mode):

        async def is_replaced() -> list[Node]:
            found = await swapped.ready("phi", 2)
            assert first.metadata.name not in [each.metadata.name for each in found]
            return found

        await swapped.placed("phi", await eventually(is_replaced))
        claims = [each for each in await swapped.claims() if not each.deleting]
        assert len(claims) == 2
        assert len(known & {each.metadata.name for each in claims}) == 1, "only one was lost"
        assert not any(each.is_true("Drifted") for each in claims)
        await swapped.end("phi")
    assert swapped.complaints() == []


async def test_a_workspace_moves_from_claims_to_a_pool_when_its_claims_are_deleted(
    swapped: Swapped,
) -> None:
    async with swapped.controller(nodeProvisioner=STANDALONE):
        await swapped.create("phi", instanceType="kwok-a10-1", inference=PRESET)
        (before,) = await swapped.ready("phi", 1)
        await swapped.placed("phi", [before])
    async with swapped.controller(nodeProvisioner=POOLED):
        await swapped.edit("phi", {"metadata": {"labels": {"looked": "again"}}})
        assert [each.metadata.name for each in await swapped.ready("phi", 1)] == [
            before.metadata.name
        ]
        assert await swapped.pools() == []
        for claim in await swapped.claims():
            await swapped.client.delete(NODE_CLAIMS, claim.metadata.name)

        async def has_moved() -> list[Node]:
            found = await swapped.ready("phi", 1)
            assert found[0].metadata.name != before.metadata.name
            return found

        after = await eventually(has_moved)
        _is_karpenters(after[0], OWNED[POOLED])
        await swapped.runs_on("phi", after[0])
        await swapped.end("phi")
    assert swapped.complaints() == []
