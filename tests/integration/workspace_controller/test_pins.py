"""Presets that the catalogue has not pinned: asked for while nodes come up, and kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from workspace_cluster import Cluster, Process, condition, eventually

from kube.objects import STATEFUL_SETS
from tests.builders import SMALL
from tests.fakes.hub import COMMIT, Hub, Repository
from workspace_controller import models
from workspace_controller.workspace import pins
from workspace_controller.workspace.pins import PINNED_ANNOTATION

pytestmark = pytest.mark.integration

FOREVER = 3600.0
PENDING = ("False", "ModelCommitPending")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(models, "SILENCE_SECONDS", (0.2, 0.2))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Hub({SMALL.hf_id: Repository()}).running() as hub:
        yield hub


async def test_the_commit_is_there_before_the_first_pod_and_costs_one_write(
    cluster: Cluster, hub: Hub
):
    hub.told.clear()
    async with cluster.controller(hub=hub.url) as process:
        await cluster.create_workspace()
        claim = await cluster.one_claim()
        # Asked in the background: the claim was made while nobody answered.
        await eventually(lambda: _asked(hub))
        made = process.writes.index("create NodeClaim")
        hub.told.set()
        await cluster.bring_up(claim)
        await eventually(lambda: _serves(cluster, COMMIT))
        assert process.writes[:made].count("patch Workspace metadata") == 1
        stored = process.writes.index("patch Workspace metadata", made)
        assert process.writes.count("patch Workspace metadata") == 2
        assert stored < process.writes.index("apply StatefulSet falcon")
    workspace = await cluster.workspace()
    assert workspace.metadata.annotations[PINNED_ANNOTATION] == f"{SMALL.hf_id}@{COMMIT}"
    assert f"--revision={COMMIT}" in await _download(cluster)


async def test_nobody_is_asked_before_the_claim_is_made(cluster: Cluster, hub: Hub):
    seen: list[bool] = []
    answer = hub.answer

    async with cluster.controller(hub=hub.url) as process:

        def watched(*given: object) -> object:
            seen.append("create NodeClaim" in process.writes)
            return answer(*given)  # type: ignore[arg-type]

        hub.answer = watched  # type: ignore[assignment]
        await cluster.create_workspace()
        await eventually(lambda: _asked(hub))
    assert seen == [True]


async def test_many_workspaces_ask_once(cluster: Cluster, hub: Hub):
    async with cluster.controller(hub=hub.url):
        for name in ("one", "two", "three"):
            await cluster.create_workspace(name=name)
        for name in ("one", "two", "three"):
            await eventually(lambda name=name: cluster.claims(name))
            await cluster.bring_up((await cluster.claims(name))[0])
            await eventually(lambda name=name: _serves(cluster, COMMIT, name))
    assert hub.asked.total() == 1


async def test_nodes_that_are_ready_wait_for_a_slow_answer(
    cluster: Cluster, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pins, "PATIENCE_SECONDS", FOREVER)
    hub.told.clear()
    async with cluster.controller(hub=hub.url):
        await cluster.create_workspace()
        await cluster.bring_up(await cluster.one_claim())
        await eventually(lambda: _is(cluster, "InferenceReady", PENDING))
        assert (await condition(cluster, "ResourceReady"))[0] == "True"
        assert await cluster.stateful_set() is None
        hub.told.set()
        await eventually(lambda: _serves(cluster, COMMIT))


async def test_a_hub_that_is_down_is_waited_for_and_asked_again(
    cluster: Cluster, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pins, "PATIENCE_SECONDS", FOREVER)
    hub.down = True
    async with cluster.controller(hub=hub.url):
        await cluster.create_workspace()
        await cluster.bring_up(await cluster.one_claim())
        await eventually(lambda: _says(cluster, "answered 503"))
        hub.down = False
        await eventually(lambda: _serves(cluster, COMMIT))


async def test_a_hub_that_stays_down_leaves_it_unpinned_and_an_answer_that_comes_late_rolls_nothing(
    cluster: Cluster, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pins, "PATIENCE_SECONDS", 1.0)
    hub.down = True
    async with cluster.controller(hub=hub.url) as process:
        await cluster.create_workspace()
        await cluster.bring_up(await cluster.one_claim())
        await eventually(lambda: _is(cluster, "InferenceReady", PENDING))
        await eventually(lambda: _serves(cluster, ""))
        hub.down = False
        await _another_is_pinned(cluster)
        assert _warnings(process) == 1
    async with cluster.controller(hub=hub.url) as process:
        await _another_is_pinned(cluster, "third")
        assert _warnings(process) == 0
    workspace = await cluster.workspace()
    assert workspace.metadata.annotations[PINNED_ANNOTATION] == f"{SMALL.hf_id}@main"
    assert not [each for each in await _download(cluster) if each.startswith("--revision")]
    found = await cluster.stateful_set()
    assert found is not None
    assert found.metadata.generation == 1


async def test_what_runs_since_an_earlier_release_is_neither_asked_about_nor_rolled(
    cluster: Cluster, hub: Hub
):
    async with cluster.controller():
        await cluster.create_workspace()
        await cluster.bring_up(await cluster.one_claim())
        await eventually(lambda: _serves(cluster, ""))
    before = await cluster.stateful_set()
    async with cluster.controller(hub=hub.url):
        await _another_is_pinned(cluster)
    workspace = await cluster.workspace()
    assert PINNED_ANNOTATION not in workspace.metadata.annotations
    after = await cluster.stateful_set()
    assert before is not None
    assert after is not None
    assert after.metadata.resource_version == before.metadata.resource_version
    assert hub.asked.total() == 1  # for the other one


async def test_a_set_that_was_deleted_comes_back_at_its_commit(cluster: Cluster, hub: Hub):
    async with cluster.controller(hub=hub.url):
        await cluster.create_workspace()
        await cluster.bring_up(await cluster.one_claim())
        await eventually(lambda: _serves(cluster, COMMIT))
        hub.repositories[SMALL.hf_id].commit = "f" * 40
        first = await cluster.stateful_set()
        assert first is not None
        await cluster.client.delete(
            STATEFUL_SETS, "falcon", namespace=cluster.namespace, uid=first.metadata.uid
        )
        await eventually(lambda: _is_another(cluster, first.metadata.uid))
    assert f"--revision={COMMIT}" in await _download(cluster)
    assert hub.asked.total() == 1


async def _another_is_pinned(cluster: Cluster, name: str = "other") -> None:
    """By when the controller has had every chance to do so with the first."""
    await cluster.create_workspace(name=name)
    await eventually(lambda: cluster.claims(name))
    await cluster.bring_up((await cluster.claims(name))[0])
    await eventually(lambda: _serves(cluster, COMMIT, name))


async def _download(cluster: Cluster) -> list[str]:
    found = await cluster.stateful_set()
    assert found is not None
    containers = found.spec["template"]["spec"]["initContainers"]
    return next(each["args"] for each in containers if each["name"] == "weights")


async def _asked(hub: Hub) -> bool:
    return hub.asked.total() > 0


async def _serves(cluster: Cluster, commit: str, name: str = "falcon") -> bool:
    serving = (await cluster.workspace(name)).status.serving
    return serving is not None and serving.revision == commit


async def _is(cluster: Cluster, kind: str, told: tuple[str, str]) -> bool:
    return await condition(cluster, kind) == told


async def _says(cluster: Cluster, words: str) -> bool:
    return words in (await cluster.workspace()).condition("InferenceReady").message


async def _is_another(cluster: Cluster, uid: str) -> bool:
    found = await cluster.stateful_set()
    return found is not None and found.metadata.uid != uid


def _warnings(process: Process) -> int:
    return process.events.told.count(("Warning", "ModelNotPinned"))
