"""Adapters of running pods, played in a world that consists of what the API server has.

Every round is planned from that world alone, so each test is also one of a controller that was
started anew in between.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest, ObjectMeta
from kube.objects import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
    Unstructured,
)
from tests.builders import NOW, a_claim, a_node, a_pod, a_workspace, a_world, settings
from workspace_controller.manifests import adapters as parts
from workspace_controller.nodes.attempts import claim_name
from workspace_controller.plan import Plan
from workspace_controller.workspace.adapters import adapters
from workspace_controller.workspace.observed import Observed

SETTINGS = settings()
ANNOTATION = "kaito.sh/adapters"


def image(name: str, tag: str = "1", **more: Any) -> Manifest:
    return {"source": {"name": name, "image": f"registry.example/{name}:{tag}"}, **more}


def asking(*given: Manifest) -> Workspace:
    return a_workspace(inference={"adapters": list(given)})


def serving(
    *given: Manifest, name: str = "falcon-0", uid: str = "uid-0", ready: bool = True
) -> Pod:
    """A pod that has these adapters."""
    pod = a_pod(name, node="node-0", ready=ready, phase="Running")
    annotations = {ANNOTATION: parts.written(parts.hashes(asking(*given)))}
    return msgspec.structs.replace(
        pod,
        metadata=msgspec.structs.replace(pod.metadata, uid=uid, annotations=annotations),
        status=msgspec.structs.replace(pod.status, pod_ip="10.244.1.7"),
    )


class World:
    """Pods and loaders, and what the plans of the step make of them."""

    def __init__(self, *pods: Pod) -> None:
        self.pods = {pod.metadata.name: pod for pod in pods}
        self.loaders: dict[str, Pod] = {}
        self.now = NOW
        self.events: list[str] = []

    def seen(self, **more: Any) -> Observed:
        template = {"metadata": {"annotations": {ANNOTATION: "{}"}}}
        stateful_set = Unstructured(metadata=ObjectMeta(name="falcon"), spec={"template": template})
        return a_world(
            **{
                "now": self.now,
                "pods": tuple(self.pods.values()),
                "loaders": tuple(self.loaders.values()),
                "stateful_set": stateful_set,
                "nonce": "unguessable",
                **more,
            }
        )

    def round(self, workspace: Workspace) -> Plan:
        """One round, carried out."""
        plan = adapters(workspace, self.seen(), SETTINGS)
        for gone in plan.delete:
            assert self.loaders[gone.name].metadata.uid == gone.uid
            del self.loaders[gone.name]
        for made in all_made(plan):
            if made["kind"] == "Pod":
                self._create(made)
        for change in plan.change:
            self._patch(change.name, change.patch["metadata"])
        self.events += [event.reason for event in plan.events]
        return plan

    def end(self, phase: str, message: str = "", container: str = "loader") -> None:
        """All loaders that run come to this end now."""
        for name, pod in self.loaders.items():
            if pod.status.phase in ("", "Running"):
                ended = ContainerStateTerminated(
                    message=message, exit_code=int(phase == "Failed"), finished_at=self.now
                )
                status = ContainerStatus(name=container, state=ContainerState(terminated=ended))
                self.loaders[name] = msgspec.structs.replace(
                    pod, status=PodStatus(phase=phase, container_statuses=(status,))
                )

    def has(self, name: str = "falcon-0") -> list[str]:
        return sorted(json.loads(self.pods[name].metadata.annotations[ANNOTATION]))

    def _create(self, made: Manifest) -> None:
        meta = made["metadata"]
        assert meta["name"] not in self.loaders
        self.loaders[meta["name"]] = Pod(
            metadata=msgspec.convert(
                {**meta, "uid": f"uid-of-{meta['name']}", "creationTimestamp": self.now},
                ObjectMeta,
            ),
            spec=PodSpec(),
        )

    def _patch(self, name: str, metadata: Manifest) -> None:
        pod = self.pods[name]
        assert metadata["uid"] == pod.metadata.uid
        annotations = {**pod.metadata.annotations, **metadata["annotations"]}
        self.pods[name] = msgspec.structs.replace(
            pod, metadata=msgspec.structs.replace(pod.metadata, annotations=annotations)
        )


def states(plan: Plan) -> dict[str, str]:
    return {each.name: each.state for each in plan.status["adapters"]}


def said(plan: Plan) -> str:
    return " ".join(each.message for each in plan.status["adapters"])


def all_made(plan: Plan) -> tuple[Manifest, ...]:
    return (*plan.create, *plan.create_last)


def nothing_to_do(plan: Plan) -> bool:
    return not (all_made(plan) or plan.delete or plan.change or plan.events or plan.apply)


def test_an_adapter_comes_to_a_running_pod():
    world, workspace = World(serving()), asking(image("legal"))
    plan = world.round(workspace)
    assert states(plan) == {"legal": "Loading"}
    (loader,) = plan.create_last
    assert loader["spec"]["containers"][0]["args"] == ["--url=http://10.244.1.7:5000"]
    assert nothing_to_do(world.round(workspace))
    world.end("Succeeded")
    assert [change.name for change in world.round(workspace).change] == ["falcon-0"]
    assert world.has() == ["legal"]
    plan = world.round(workspace)
    assert states(plan) == {"legal": "Ready"}
    assert world.loaders == {}
    assert nothing_to_do(world.round(workspace))
    assert world.events == ["AdapterLoaded"]


def test_an_adapter_leaves_a_running_pod():
    world, workspace = World(serving(image("legal"), image("style"))), asking(image("style"))
    plan = world.round(workspace)
    assert states(plan) == {"style": "Ready", "legal": "Removing"}
    (loader,) = plan.create_last
    assert loader["spec"]["containers"][0]["args"][-1] == "--remove"
    assert "initContainers" not in loader["spec"]
    world.end("Succeeded")
    world.round(workspace)
    assert world.has() == ["style"]
    assert states(world.round(workspace)) == {"style": "Ready"}
    assert world.events == ["AdapterRemoved"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(image("legal", "2"), id="another source"),
        pytest.param(image("legal", strength="0.5"), id="another strength"),
    ],
)
def test_an_adapter_is_replaced(other: Manifest):
    world, workspace = World(serving(image("legal"))), asking(other)
    assert states(world.round(workspace)) == {"legal": "Loading"}
    world.end("Succeeded")
    world.round(workspace)
    assert world.pods["falcon-0"].metadata.annotations[ANNOTATION] == parts.written(
        parts.hashes(workspace)
    )
    assert states(world.round(workspace)) == {"legal": "Ready"}


def test_the_loader_stays_until_the_pod_is_seen_to_have_it():
    """The caches of pods and loaders are not of one moment: the loader's end is the record."""
    world, workspace = World(serving()), asking(image("legal"))
    world.round(workspace)
    world.end("Succeeded")
    outdated = dict(world.pods)
    world.round(workspace)
    world.pods = outdated
    plan = world.round(workspace)
    assert not all_made(plan)
    assert not plan.delete
    assert world.has() == ["legal"]


def test_each_adapter_has_a_fate_of_its_own():
    world, workspace = World(serving()), asking(image("bad"), image("good"))
    assert len(all_made(world.round(workspace))) == 2
    bad = next(
        name
        for name, pod in world.loaders.items()
        if pod.metadata.annotations["kaito.sh/adapter"] == "bad"
    )
    good = {name: pod for name, pod in world.loaders.items() if name != bad}
    world.loaders = {bad: world.loaders[bad]}
    world.end("Failed", "no such image", "puller-bad")
    world.loaders |= good
    world.end("Succeeded")
    plan = world.round(workspace)
    assert world.has() == ["good"]
    plan = world.round(workspace)
    assert states(plan) == {"bad": "Failed", "good": "Ready"}
    assert said(plan).strip() == "puller-bad: no such image"


def test_what_failed_is_tried_again_after_a_pause_that_doubles():
    world, workspace = World(serving()), asking(image("legal"))
    world.round(workspace)
    for pause in (30, 60, 120, 240, 480, 600, 600):
        world.end("Failed", "LoRA rank 64 is greater than max_lora_rank 32.")
        plan = world.round(workspace)
        assert plan.look_again == pytest.approx(pause)
        assert states(plan) == {"legal": "Failed"}
        assert said(plan) == "LoRA rank 64 is greater than max_lora_rank 32."
        world.now += timedelta(seconds=pause - 1)
        assert nothing_to_do(world.round(workspace))
        world.now += timedelta(seconds=2)
        plan = world.round(workspace)
        # Its Secret may have been the reason.
        assert [made["kind"] for made in all_made(plan)] == ["Secret", "Pod"]
        assert states(plan) == {"legal": "Failed"}
        world.round(workspace)
        assert len(world.loaders) == 1
    assert world.events == ["AdapterFailed"] * 7


def test_another_source_is_tried_at_once():
    world = World(serving())
    world.round(asking(image("legal", "typo")))
    world.end("Failed", "no such image")
    world.round(asking(image("legal", "typo")))
    plan = world.round(asking(image("legal", "1")))
    assert states(plan) == {"legal": "Loading"}
    assert len(plan.delete) == 1
    assert len(world.loaders) == 1


def test_a_wish_that_is_taken_back_ends_its_loader():
    world = World(serving())
    world.round(asking(image("legal")))
    plan = world.round(asking())
    assert len(plan.delete) == 1
    assert plan.status["adapters"] == ()


def test_a_pod_that_was_replaced_has_its_own_loaders():
    """It was started with all adapters, and its predecessor's loader is nobody's."""
    world, workspace = World(serving()), asking(image("legal"))
    world.round(workspace)
    world.pods["falcon-0"] = serving(image("legal"), uid="uid-1")
    plan = world.round(workspace)
    assert (len(all_made(plan)), len(plan.delete)) == (0, 1)
    assert states(plan) == {"legal": "Ready"}


def test_a_success_is_not_written_on_a_namesake():
    world, workspace = World(serving()), asking(image("legal"))
    world.round(workspace)
    world.end("Succeeded")
    world.pods["falcon-0"] = serving(uid="uid-1")
    plan = world.round(workspace)
    assert plan.change == ()
    assert len(all_made(plan)) == len(plan.delete) == 1


def test_every_pod_gets_it():
    pods = serving(), serving(name="falcon-1", uid="uid-1")
    world, workspace = World(*pods), asking(image("legal"))
    assert len(all_made(world.round(workspace))) == 2
    (first, *_) = world.loaders
    waiting = {name: pod for name, pod in world.loaders.items() if name != first}
    world.loaders = {first: world.loaders[first]}
    world.end("Succeeded")
    world.loaders |= waiting
    world.round(workspace)
    assert states(world.round(workspace)) == {"legal": "Loading"}
    world.end("Succeeded")
    world.round(workspace)
    assert states(world.round(workspace)) == {"legal": "Ready"}
    assert world.has("falcon-0") == world.has("falcon-1") == ["legal"]


@pytest.mark.parametrize("has", [(), (image("legal"),)])
def test_a_pod_that_is_not_ready_is_left_in_peace(has: tuple[Manifest, ...]):
    world, workspace = World(serving(*has, ready=False)), asking(image("legal"))
    plan = world.round(workspace)
    assert states(plan) == {"legal": "Pending"}
    assert said(plan) == "pod falcon-0 is not ready"
    assert nothing_to_do(plan)


def test_a_pod_that_goes_gets_nothing():
    pod = serving()
    meta = msgspec.structs.replace(pod.metadata, deletion_timestamp=NOW)
    world = World(msgspec.structs.replace(pod, metadata=meta))
    assert nothing_to_do(world.round(asking(image("legal"))))


def test_while_there_is_no_pod_adapters_are_awaited():
    plan = World().round(asking(image("legal")))
    assert states(plan) == {"legal": "Pending"}


def test_what_keeps_a_loader_is_told():
    world, workspace = World(serving()), asking(image("legal"))
    world.round(workspace)
    for name, pod in world.loaders.items():
        stuck = a_pod(name, waiting=("ImagePullBackOff", "no such image"), init=True)
        world.loaders[name] = msgspec.structs.replace(pod, status=stuck.status)
    plan = world.round(workspace)
    assert states(plan) == {"legal": "Loading"}
    assert "no such image" in said(plan)


def test_an_evicted_loader_is_tried_again():
    world, workspace = World(serving()), asking(image("legal"))
    world.round(workspace)
    for name, pod in world.loaders.items():
        status = PodStatus(phase="Failed", reason="DeadlineExceeded", message="too slow")
        world.loaders[name] = msgspec.structs.replace(pod, status=status)
    plan = world.round(workspace)
    assert (states(plan), said(plan)) == ({"legal": "Failed"}, "too slow")
    assert plan.look_again == pytest.approx(30)


@pytest.mark.parametrize(
    ("at_start", "state"),
    [
        pytest.param((image("legal"),), "Ready", id="started with it"),
        pytest.param((), "Pending", id="started without it"),
    ],
)
def test_where_the_engine_takes_them_at_start_they_come_with_the_pod(
    at_start: tuple[Manifest, ...], state: str
):
    pod = serving()
    annotations = parts.template_annotations(asking(*at_start), hot=False)
    meta = msgspec.structs.replace(pod.metadata, annotations=annotations)
    plan = World(msgspec.structs.replace(pod, metadata=meta)).round(asking(image("legal")))
    assert states(plan) == {"legal": state}
    assert nothing_to_do(plan)


# --- the token ----------------------------------------------------------------------------------


def with_nodes(**more: Any) -> Observed:
    name = claim_name("5f0e7a52-93ac-4a04-9a34-6f2a6a1c0001", 0, 1)
    claim = a_claim(name, node="node-0", ready=True)
    return a_world(claims=(claim,), nodes=(a_node("node-0"),), nonce="unguessable", **more)


def test_the_token_is_there_before_the_first_pod():
    (secret,) = adapters(a_workspace(), with_nodes(), SETTINGS).create
    assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "falcon-adapters")
    assert secret["stringData"] == {"token": "unguessable"}
    assert secret["metadata"]["ownerReferences"][0]["kind"] == "Workspace"


def test_the_token_is_made_once():
    assert nothing_to_do(World(serving()).round(a_workspace()))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"annotations": {"kaito.sh/runtime-adapters": "false"}}, id="opted out"),
        pytest.param({"annotations": {"kaito.sh/runtime": "llamacpp"}}, id="llama.cpp"),
        pytest.param({"preset": "large-70b", "instance_type": "local-gpu-2"}, id="several nodes"),
        pytest.param(
            {"inference": {"preset": None, "template": {"spec": {"containers": []}}}},
            id="own template",
        ),
    ],
)
def test_no_token_where_none_is_asked_for(given: dict[str, Any]):
    assert adapters(a_workspace(**given), with_nodes(), SETTINGS).create == ()
