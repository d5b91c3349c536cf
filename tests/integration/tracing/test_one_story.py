"""One Workspace, two controllers: what their logs, traces, events and /debug tell of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from otlp_receiver import Collector, Received
from two_controllers import Controller, World, eventually, reconcile_id

from apis.kaito.v1beta1.labels import TRACE_PARENT_ANNOTATION
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kaito.explain import EVENTS
from kube import config
from kube.client import Client
from kube.objects import NODES

pytestmark = pytest.mark.integration

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "Bearer ey-not-for-anybody"


@pytest.fixture
async def world(kubeconfig: Path, tmp_path: Path) -> AsyncIterator[World]:
    endpoint = config.kubeconfig(str(kubeconfig))
    async with Client(endpoint, field_manager="tests", kinds=(WORKSPACES, NODE_CLAIMS)) as client:
        world = World(kubeconfig, client, tmp_path)
        await world.install()
        yield world


async def test_a_workspace_is_one_story(world: World) -> None:
    async with Collector() as collector:
        tracing = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET.replace(' ', '%20')}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        async with world.running(level="debug", **tracing) as (workspaces, provisioner):
            claim = await world.workspace("one")
            await eventually(lambda: _has(provisioner, "initialized nodeclaim"))
            _its_id_is_in_both_logs(claim, workspaces, provisioner)
            spans = await collector.until(
                "POST nodeclaims", "nodeclaim.initialize", trace=_trace(claim)
            )
            _it_is_one_trace(spans, claim)
            assert {each.get("Authorization") for each in collector.headers} == {SECRET}

            joined = await world.workspace("two", **{TRACE_PARENT_ANNOTATION: GIVEN})
            assert _trace(joined) == GIVEN[3:35]
            theirs = await collector.until(
                *("reconcile workspace", "nodeclaim.initialize"),
                trace=GIVEN[3:35],
                root=GIVEN[36:52],
            )
            rounds = [span for span in theirs if span.name == "reconcile workspace"]
            assert {span.parent for span in rounds} == {GIVEN[36:52]}

            await _debug_tells(world, workspaces, provisioner)
            texts = [*map(str, await _all_debug(workspaces)), workspaces.log.read_text()]
            assert not [text for text in texts if "ey-not-for-anybody" in text]
        told = {line["reason"]: line for line in await _events(world, claim)}
        before = await world.client.get(NODE_CLAIMS, claim.metadata.name)

    # Again, with the collector gone.
    async with world.running(**tracing) as (workspaces, provisioner):
        third = await world.workspace("three")
        await _told_once(provisioner, collector)
        await _told_once(workspaces, collector)
        await world.client.delete(WORKSPACES, "three", namespace="default")
        await eventually(lambda: _gone(world, third))
        await eventually(lambda: _has(provisioner, "deleted nodeclaim"))
        _ends_under_its_id(third, provisioner)
        # Who starts anew finds its claims as they should be, and has nothing new to tell of them.
        after = await world.client.get(NODE_CLAIMS, claim.metadata.name)
        assert before is not None
        assert after is not None
        assert after.metadata.resource_version == before.metadata.resource_version
        now = {line["reason"]: line for line in await _events(world, claim)}
        assert now.keys() == told.keys()
        assert [now[reason]["name"] for reason in told] == [told[r]["name"] for r in told]


def _trace(claim: NodeClaim) -> str:
    return claim.metadata.annotations[TRACE_PARENT_ANNOTATION].split("-")[1]


def _its_id_is_in_both_logs(
    claim: NodeClaim, workspaces: Controller, provisioner: Controller
) -> None:
    """grep ID *.log: from the Workspace to the claim, and to the call of the cloud."""
    id_, name = reconcile_id(claim), claim.metadata.name
    asked, provided = workspaces.grep(id_), provisioner.grep(id_)
    assert {line["reconcileID"] for line in asked} == {id_}
    assert {line["object"] for line in asked} == {"default/one"}
    assert f"created NodeClaim {name}" in [line["message"] for line in asked]

    assert {line["originReconcileID"] for line in provided} == {id_}
    assert id_ not in {line["reconcileID"] for line in provided}
    messages = [line["message"] for line in provided]
    for step in ("launched nodeclaim", "registered nodeclaim", "initialized nodeclaim"):
        assert messages.count(step) == 1
    call = next(line for line in provided if line.get("method") == "Create")
    assert (call["nodeclaim"], call["result"], call["level"]) == (name, "ok", "DEBUG")
    assert call["seconds"] >= 0
    launched = next(line for line in provided if line["message"] == "launched nodeclaim")
    assert launched["instance-type"] == "kwok-a10-1"
    assert launched["provider-id"] == claim.status.provider_id


def _it_is_one_trace(spans: list[Received], claim: NodeClaim) -> None:
    """Of both controllers; every parent is in it; waits have the objects' own times."""
    assert {span.service for span in spans} == {"workspace-controller", "gpu-provisioner"}
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans)
    assert not [span for span in spans if span.parent and span.parent not in by_id]

    creator = by_id[claim.metadata.annotations[TRACE_PARENT_ANNOTATION].split("-")[2]]
    assert (creator.service, creator.name) == ("workspace-controller", "reconcile workspace")
    assert creator.attributes["object"] == "default/one"
    assert creator.attributes["reconcileID"] == reconcile_id(claim)

    # Both may be repeated, to no effect, where a cache is behind.
    one = {name: _first(spans, name) for name in ("POST nodeclaims", "cloud Create")}
    assert by_id[one["POST nodeclaims"].parent] is creator
    round_ = by_id[one["cloud Create"].parent]
    assert (round_.name, round_.parent) == ("reconcile nodeclaim.lifecycle", creator.id)
    assert one["cloud Create"].attributes["nodeclaim"] == claim.metadata.name
    assert "PATCH nodeclaims/status" in {span.name for span in spans if span.parent == round_.id}

    launch = _only(spans, "nodeclaim.launch")
    assert launch.parent == creator.id
    assert launch.start == claim.metadata.creation_timestamp
    last = claim.condition("Launched").last_transition_time
    assert last is not None
    assert abs(launch.end - last) < timedelta(seconds=1)
    assert not [span for span in spans if span.failed]


def _first(spans: list[Received], name: str) -> Received:
    return min((span for span in spans if span.name == name), key=lambda span: span.start)


def _only(spans: list[Received], name: str) -> Received:
    (found,) = [span for span in spans if span.name == name]
    return found


async def _debug_tells(world: World, workspaces: Controller, provisioner: Controller) -> None:
    queues = await workspaces.debug("/queues")
    assert {row["controller"] for row in queues["queues"]} >= {"workspace", "ragengine"}
    names = {row["controller"] for row in (await provisioner.debug("/queues"))["queues"]}
    assert names >= {"nodeclaim.lifecycle", "nodeclaim.podevents", "node.termination"}

    kinds = {row["kind"]: row for row in (await provisioner.debug("/informers"))["informers"]}
    assert kinds["NodeClaim"]["objects"] == 2
    assert kinds["NodeClaim"]["synced"]
    assert int(kinds["NodeClaim"]["resource version"]) > 0
    table = await provisioner.debug("/informers", format="text")
    assert re.search(r"^NodeClaim +karpenter\.sh +- +2 +0 +yes +yes ", table, re.M)
    assert re.search(r"^Pod +- +spec\.nodeName!= ", table, re.M)

    lease = await workspaces.debug("/lease")
    assert lease["holding"]
    assert lease["lease"] == "default/workspace-leader-election"

    tasks = await provisioner.debug("/tasks", format="text")
    assert "kube/workqueue.py" in tasks

    assert (await provisioner.debug("/log-level"))["level"] == "DEBUG"
    assert (await provisioner.debug("/log-level", put={"level": "warning"}))["level"] == "WARNING"
    assert "must be one of" in await provisioner.debug("/log-level", put={"level": "loud"})
    quiet = await provisioner.debug("/log-level", put={"level": "debug", "logger": "botocore"})
    assert "credentials" in quiet
    before = _chatter(provisioner)
    await world.client.patch(NODES, await _a_node(world), {"metadata": {"labels": {"a": "b"}}})
    assert await provisioner.debug("/queues", controller="node.health")
    assert _chatter(provisioner) == before
    await provisioner.debug("/log-level", put={"level": "debug"})
    assert provisioner.grep("log level of all is now debug")


def _chatter(controller: Controller) -> int:
    return len([line for line in controller.lines() if line["level"] in ("DEBUG", "INFO")])


async def _a_node(world: World) -> str:
    claim = await eventually(lambda: world.claim("one"))
    return claim.status.node_name


async def _all_debug(controller: Controller) -> list[object]:
    paths = ("", "/queues", "/informers", "/lease", "/tasks", "/log-level")
    return [await controller.debug(path) for path in paths]


async def _told_once(controller: Controller, collector: Collector) -> None:
    """However often it has tried; and the address is told, not what would be sent there."""
    await eventually(lambda: _has(controller, "traces cannot be exported"))
    (line,) = controller.grep("export")
    assert line["message"].startswith(f"traces cannot be exported to {collector.endpoint}: ")
    assert line["level"] == "WARNING"
    assert SECRET not in controller.log.read_text()


async def _has(controller: Controller, text: str) -> bool:
    return bool(controller.grep(text))


async def _gone(world: World, claim: NodeClaim) -> bool:
    return await world.client.get(NODE_CLAIMS, claim.metadata.name) is None


def _ends_under_its_id(claim: NodeClaim, provisioner: Controller) -> None:
    messages = Counter(line["message"] for line in provisioner.grep(reconcile_id(claim)))
    assert messages["deleted nodeclaim"] == 1


async def _events(world: World, claim: NodeClaim) -> list[dict[str, str]]:
    found = await world.client.list(
        EVENTS, namespace="default", fields=f"involvedObject.name={claim.metadata.name}"
    )
    return [{"reason": each.reason, "name": each.metadata.name} for each in found.items]


async def test_a_claim_of_nobody_we_know_has_its_own_story(world: World) -> None:
    """As the Go controller or kubectl make it: no annotations, and none are added."""
    async with Collector() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        async with world.running(**environment) as (_, provisioner):
            await world.client.create(_claim("foreign"))
            claim = await eventually(lambda: _ready(world, "foreign"))
            spans = await collector.until("nodeclaim.launch", "cloud Create")
        launch = _only(spans, "nodeclaim.launch")
        assert {span.trace for span in spans if span.attributes.get("object") == "foreign"} == {
            launch.trace
        }
        assert not [name for name in claim.metadata.annotations if name.startswith("kaito.sh/")]
        about = [line for line in provisioner.lines() if line.get("object") == "foreign"]
        assert "launched nodeclaim" in [line["message"] for line in about]
        assert not [line for line in about if "originReconcileID" in line]


def _claim(name: str) -> dict[str, object]:
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": name},
        "spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh",
                "kind": "KWOKNodeClass",
                "name": "default",
            },
            "requirements": [
                {
                    "key": "node.kubernetes.io/instance-type",
                    "operator": "In",
                    "values": ["kwok-cpu-4"],
                }
            ],
        },
    }


async def _ready(world: World, name: str) -> NodeClaim | None:
    found = await world.client.get(NODE_CLAIMS, name)
    return found if found is not None and found.is_true("Ready") else None
