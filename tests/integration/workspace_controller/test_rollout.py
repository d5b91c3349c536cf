"""Edits of a Workspace that serves: which pods go when, on a real API server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pods_at_work import PodsAtWork
from workspace_cluster import Cluster, Process, condition, eventually

from apis.kaito.v1beta1.labels import REVISION_NAME_LABEL
from kaito.__main__ import main
from kaito.rollback import REVISIONS, Kept
from kube.objects import CONFIG_MAPS, SERVICES
from tests import builders
from workspace_controller.informers import STATEFUL_SETS
from workspace_controller.manifests.podhash import POD_HASH_ANNOTATION

pytestmark = pytest.mark.integration

MODE = "kaito.sh/performance-mode"
THROUGHPUT = {"metadata": {"annotations": {MODE: "throughput"}}}
BACK = {"metadata": {"annotations": {MODE: None}}}


@asynccontextmanager
async def serving(cluster: Cluster, room: int = 2, **given: Any) -> AsyncIterator[PodsAtWork]:
    """A Workspace that serves, and those who make pods at work; no controller."""
    async with PodsAtWork(cluster, room, _good).at_work() as pods:
        async with _controller(cluster):
            await cluster.deploy(**given)
            await eventually(lambda: _serves(cluster))
        yield pods


async def test_with_room_a_new_pod_takes_over_before_the_old_one_goes(cluster: Cluster):
    async with serving(cluster) as pods, _controller(cluster) as process:
        before = await _hash(pods)
        await cluster.edit(THROUGHPUT)
        await eventually(lambda: _complete(cluster, "RollPods"))
        assert await _hash(pods) != before
        assert pods.made == ["falcon-0", "falcon-1", "falcon-0"]
        assert pods.unserved == 0
        await eventually(lambda: _alone(pods))
        await process.quiet()
    found = await cluster.stateful_set()
    assert found is not None
    assert found.spec["replicas"] == 1
    assert found.spec["updateStrategy"] == {"type": "OnDelete"}
    told = [reason for _, reason in process.events.told]
    assert told == ["RolloutStarted", "RolloutComplete"]


async def test_the_workspace_is_ready_all_the_time_while_something_serves(cluster: Cluster):
    async with serving(cluster) as pods, _controller(cluster):
        watched = asyncio.create_task(_never_unready(cluster))
        await cluster.edit(THROUGHPUT)
        await eventually(lambda: _complete(cluster, "RollPods"))
        watched.cancel()
        await asyncio.gather(watched, return_exceptions=True)
        assert not watched.done() or watched.cancelled()
    assert pods.unserved == 0


async def test_without_room_the_old_pod_is_replaced_in_place(cluster: Cluster):
    async with serving(cluster, room=1) as pods, _controller(cluster) as process:
        before = await _hash(pods)
        await cluster.edit(THROUGHPUT)
        await eventually(lambda: _complete(cluster, "RollPods"))
        assert await _hash(pods) != before
        assert pods.made == ["falcon-0", "falcon-1", "falcon-0"]
        await process.quiet()
        written = len(process.writes)
        # What was decided for this edit stays decided.
        await cluster.edit({"metadata": {"labels": {"touched": "yes"}}})
        await asyncio.sleep(0.3)
        assert process.writes[written:] == []
    assert pods.unserved > 0
    found = await cluster.stateful_set()
    assert found is not None
    assert found.metadata.annotations["kaito.sh/no-room-for"] == await _hash(pods)


async def test_in_place_where_that_is_asked_for(cluster: Cluster):
    quiet = {"kaito.sh/surge": "false"}
    async with serving(cluster, annotations=quiet) as pods, _controller(cluster):
        await cluster.edit(THROUGHPUT)
        await eventually(lambda: _complete(cluster, "RollPods"))
        assert pods.made == ["falcon-0", "falcon-0"]


async def test_a_bad_edit_does_not_take_the_service_away_and_can_be_taken_back(cluster: Cluster):
    options = {"inference": {"config": "options"}}
    async with serving(cluster) as pods, _controller(cluster) as process:
        before = await _hash(pods)
        await cluster.create_config()
        await cluster.edit(options)
        await eventually(lambda: _phase(cluster, "Stuck"))
        assert await condition(cluster, "InferenceReady") == (
            "True",
            "WorkspaceInferenceStatusSuccess",
        )
        said = (await cluster.workspace()).condition("InferenceReady").message
        assert "falcon-0 is left as it was: pod falcon-1" in said
        assert ("Warning", "RolloutStuck") in process.events.told
        await cluster.edit({"inference": {"config": None}})
        await eventually(lambda: _complete(cluster, "RollPods"))
        assert await _hash(pods) == before
        await eventually(lambda: _alone(pods))
    assert pods.made == ["falcon-0", "falcon-1"]
    assert pods.unserved == 0


async def test_an_edit_of_the_config_map_reaches_the_pods(cluster: Cluster):
    await cluster.create_config()
    good = {"data": {"inference_config.yaml": "vllm:\n  max-model-len: 1024\n"}}
    async with serving(cluster, annotations={"good": "yes"}) as pods:
        pods.good = lambda arguments: True
        async with _controller(cluster):
            await cluster.edit({"inference": {"config": "options"}})
            await eventually(lambda: _complete(cluster, "RollPods"))
            before = await _hash(pods)
            made = len(pods.made)
            await cluster.client.patch(CONFIG_MAPS, "options", good, namespace=cluster.namespace)
            await eventually(lambda: _changed(pods, before))
            await eventually(lambda: _complete(cluster, "RollPods"))
            assert len(pods.made) == made + 2
    assert pods.unserved == 0


@pytest.mark.parametrize("what", ["arguments", "restart"])
async def test_hands_on_the_template_reach_the_pods_as_an_edit_of_the_workspace_does(
    cluster: Cluster, what: str
):
    """`kubectl edit statefulset` and `kubectl rollout restart`."""
    async with serving(cluster) as pods, _controller(cluster) as process:
        before = await _hash(pods)
        found = await cluster.stateful_set()
        assert found is not None
        template = found.spec["template"]
        (container,) = template["spec"]["containers"]
        change: dict[str, Any] = {"metadata": {"annotations": {"restarted": "now"}}}
        if what == "arguments":
            arguments = [*container["args"], "--seed=7"]
            change = {"spec": {"containers": [{**container, "args": arguments}]}}
        await cluster.client.patch(
            STATEFUL_SETS, "falcon", {"spec": {"template": change}}, namespace=cluster.namespace
        )
        await eventually(lambda: _complete(cluster, "RollPods"))
        assert await _hash(pods) != before
        assert pods.made == ["falcon-0", "falcon-1", "falcon-0"]
        await process.quiet()
    assert pods.unserved == 0


async def test_one_engine_over_several_nodes_is_replaced_as_one(cluster: Cluster):
    large = {"preset": "large-70b", "instance_type": "local-gpu-2"}
    async with serving(cluster, room=9, **large) as pods, _controller(cluster):
        count = len(pods.made)
        assert count > 1
        await cluster.edit(THROUGHPUT)
        await eventually(lambda: _complete(cluster, "RollPods"))
        assert sorted(pods.made[count:]) == sorted(pods.made[:count])
        hashes = {each.metadata.annotations[POD_HASH_ANNOTATION] for each in await _all(pods)}
        assert len(hashes) == 1
    assert pods.unserved > 0


async def test_a_pod_that_is_as_it_should_be_is_left_alone_over_a_restart(cluster: Cluster):
    async with serving(cluster) as pods:
        async with _controller(cluster) as process:
            await process.quiet()  # the first may have ended with a status still to write
        async with _controller(cluster) as process:
            await asyncio.sleep(0.7)
            assert process.writes == []
        assert pods.made == ["falcon-0"]


async def test_a_stateful_set_that_rolled_by_itself_is_taken_over(cluster: Cluster):
    """As upstream leaves it: with a strategy whose parameters go with no other."""
    async with serving(cluster) as pods:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        rolling = {"spec": {"updateStrategy": strategy}}
        cluster.client.field_manager = "manager"
        await cluster.client.patch(STATEFUL_SETS, "falcon", rolling, namespace=cluster.namespace)
        cluster.client.field_manager = "tests"
        async with _controller(cluster) as process:
            await eventually(lambda: _strategy(cluster, {"type": "OnDelete"}))
            await process.quiet()
            written = len(process.writes)
            await asyncio.sleep(0.3)
            assert len(process.writes) == written
    assert pods.made == ["falcon-0"]
    assert pods.unserved == 0


@pytest.mark.parametrize("writes", range(13))
async def test_killed_after_any_write_of_a_rollout_the_next_one_ends_it(
    cluster: Cluster, writes: int
):
    async with serving(cluster) as pods:
        before = await _hash(pods)
        await cluster.edit(THROUGHPUT)
        async with _controller(cluster, dies_after=writes) as process:
            await eventually(lambda: process.dead_or_done(writes))
        async with _controller(cluster):
            await eventually(lambda: _changed(pods, before))
            await eventually(lambda: _alone(pods))
            await eventually(lambda: _serves(cluster))
            await eventually(lambda: _selects(cluster, "falcon-0"))
    assert pods.made == ["falcon-0", "falcon-1", "falcon-0"]
    assert pods.unserved == 0


async def test_what_was_served_is_kept_and_its_number_never_goes_back(cluster: Cluster):
    async with serving(cluster), _controller(cluster):
        await eventually(lambda: _kept(cluster, [1]))
        await cluster.edit(THROUGHPUT)
        await eventually(lambda: _kept(cluster, [1, 2]))
        await cluster.edit(BACK)
        await eventually(lambda: _kept(cluster, [2, 3]))
        first = (await _revisions(cluster))[1]
        assert first.data["inference"]["preset"]["name"] == "small-1b"
        assert first.metadata.owner_references[0].name == "falcon"
        workspace = await cluster.workspace()
        assert workspace.metadata.annotations["workspace.kaito.io/revision"] == "3"


async def test_what_a_file_would_change_is_told_and_undone_by_its_revision(
    cluster: Cluster, installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "falcon.yaml"
    place = ["--kubeconfig", str(installed), "-n", cluster.namespace]
    flags = [*place, "--cloud", "local"]

    async def kaito(*words: str) -> tuple[int, str]:
        status = await asyncio.to_thread(main, [*words, *flags])
        return status, capsys.readouterr().out

    manifest = builders.a_workspace_manifest(preset="phi-4-mini-instruct")
    del manifest["metadata"]["namespace"]
    file.write_text(yaml.safe_dump(manifest))
    status, said = await kaito("diff", "-f", str(file))
    assert (status, "it creates 1 node of type local-gpu-1" in said) == (1, True)

    await cluster.create_workspace(preset="phi-4-mini-instruct")
    assert await kaito("diff", "-f", str(file)) == (0, "")

    manifest["metadata"]["annotations"] = THROUGHPUT["metadata"]["annotations"]
    file.write_text(yaml.safe_dump(manifest))
    status, said = await kaito("diff", "-f", str(file))
    assert (status, "rolls the pods" in said) == (1, True)

    manifest["resource"]["instanceType"] = "local-gpu-2"
    file.write_text(yaml.safe_dump(manifest))
    status, said = await kaito("diff", "-f", str(file), "-o", "json")
    (found,) = json.loads(said)
    assert (status, found["effect"]) == (2, "Refused")


async def test_a_workspace_goes_back_to_what_it_was(
    cluster: Cluster, installed: Path, capsys: pytest.CaptureFixture[str]
):
    place = ["--kubeconfig", str(installed), "-n", cluster.namespace, "--cloud", "local"]

    async def rollback(*words: str) -> tuple[int, str]:
        status = await asyncio.to_thread(main, ["rollback", "falcon", *words, *place])
        told = capsys.readouterr()
        return status, told.out + told.err

    async with serving(cluster, preset="small-1b"), _controller(cluster):
        assert await rollback() == (1, "error: there is no earlier revision; kept: 1\n")
        await cluster.edit(THROUGHPUT)
        await eventually(lambda: _kept(cluster, [1, 2]))
        status, said = await rollback("--list")
        assert (status, "performance-mode throughput (present)" in said) == (0, True)
        status, said = await rollback("--dry-run")
        assert (status, "falcon would go back to revision 1" in said) == (0, True), said
        status, said = await rollback()
        assert (status, "falcon goes back to revision 1" in said) == (0, True), said
        await eventually(lambda: _kept(cluster, [2, 3]))
        assert MODE not in (await cluster.workspace()).metadata.annotations
        await eventually(lambda: _complete(cluster, "RollPods"))


async def test_a_longer_context_brings_nodes_first_and_a_shorter_one_lets_them_go(
    cluster: Cluster,
):
    large = {"preset": "large-70b", "instance_type": "local-gpu-2"}
    await _configure(cluster, 1024)
    async with serving(cluster, room=9, inference={**_LARGE, "config": "options"}, **large) as pods:
        few = len(await cluster.claims())
        async with _controller(cluster):
            await _configure(cluster, 131072)
            await eventually(lambda: _more_claims(cluster, few))
            await eventually(lambda: _phase(cluster, "Replacing"))
            told = (await cluster.workspace()).status.rollout
            assert told is not None
            assert told.effect == "ReplaceNodes"
            assert len(await pods.pods()) == few
            assert await _serves(cluster)
            for claim in await cluster.claims():
                if not claim.status.node_name:
                    await cluster.bring_up(claim, gpus=2)
            await eventually(lambda: _complete(cluster, "ReplaceNodes"))
            assert len(await pods.pods()) == len(await cluster.claims()) > few
            await _configure(cluster, 1024)
            await eventually(lambda: _claims(cluster, few))
            await eventually(lambda: _serves(cluster))
            assert len(await pods.pods()) == few


def _controller(cluster: Cluster, **given: Any) -> AbstractAsyncContextManager[Process]:
    """One that measures nothing, which would make more pods."""
    settings = dataclasses.replace(builders.settings(), benchmark=False)
    return cluster.controller(settings, **given)


def _good(arguments: list[str]) -> bool:
    """The played engine does not take what the ConfigMap `options` asks for at first."""
    return "--max-model-len=2048" not in arguments


_LARGE = {"preset": {"name": "large-70b"}}


async def _configure(cluster: Cluster, length: int) -> None:
    await cluster.client.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "options", "namespace": cluster.namespace},
            "data": {"inference_config.yaml": f"vllm:\n  max-model-len: {length}\n"},
        }
    )


async def _claims(cluster: Cluster, count: int) -> bool:
    return len(await cluster.claims()) == count


async def _more_claims(cluster: Cluster, count: int) -> bool:
    return len(await cluster.claims()) > count


async def _serves(cluster: Cluster) -> bool:
    return (await condition(cluster, "WorkspaceSucceeded"))[0] == "True"


async def _never_unready(cluster: Cluster) -> None:
    while await _serves(cluster):
        await asyncio.sleep(0.01)


async def _complete(cluster: Cluster, effect: str) -> bool:
    told = (await cluster.workspace()).status.rollout
    return told is not None and (told.effect, told.phase) == (effect, "Complete")


async def _phase(cluster: Cluster, phase: str) -> bool:
    told = (await cluster.workspace()).status.rollout
    return told is not None and told.phase == phase


async def _hash(pods: PodsAtWork) -> str:
    return (await pods.pods())["falcon-0"].metadata.annotations[POD_HASH_ANNOTATION]


async def _changed(pods: PodsAtWork, before: str) -> bool:
    found = (await pods.pods()).get("falcon-0")
    return found is not None and found.metadata.annotations[POD_HASH_ANNOTATION] != before


async def _all(pods: PodsAtWork):
    return (await pods.pods()).values()


async def _alone(pods: PodsAtWork) -> bool:
    return list(await pods.pods()) == ["falcon-0"]


async def _selects(cluster: Cluster, pod: str) -> bool:
    service = await cluster.client.get(SERVICES, "falcon", cluster.namespace)
    assert service is not None
    return service.spec["selector"]["statefulset.kubernetes.io/pod-name"] == pod


async def _strategy(cluster: Cluster, expected: dict[str, Any]) -> bool:
    found = await cluster.stateful_set()
    return found is not None and found.spec["updateStrategy"] == expected


async def _revisions(cluster: Cluster) -> list[Kept]:
    found = await cluster.client.list(
        REVISIONS, namespace=cluster.namespace, labels=f"{REVISION_NAME_LABEL}=falcon"
    )
    return sorted(found.items, key=lambda each: each.revision)


async def _kept(cluster: Cluster, numbers: list[int]) -> bool:
    return [each.revision for each in await _revisions(cluster)] == numbers
