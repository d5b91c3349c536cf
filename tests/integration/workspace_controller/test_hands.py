"""What users do to children with the real kubectl on a real API server, and what then stays."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from workspace_cluster import Cluster, Process, condition, eventually

from apis.kaito.v1beta1.status import ForeignEdit
from kube import config
from kube.client import Client
from kube.config import Endpoint
from kube.errors import ConflictError, FieldConflictError
from kube.managedfields import FieldOwner
from kube.meta import Manifest
from localcluster.binaries import Binaries
from workspace_controller.informers import STATEFUL_SETS
from workspace_controller.workspace.children import Child, Settled, settle
from workspace_controller.workspace.fieldowners import FIELD_MANAGER

pytestmark = pytest.mark.integration

ARGS = "spec.template.spec.containers[name=falcon].args"
IMAGE = "spec.template.spec.containers[name=falcon].image"
Kubectl = Callable[..., Awaitable[str]]

STATEFUL_SET: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {
        "name": "falcon",
        "labels": {"kaito.sh/workspace": "falcon"},
        "annotations": {"workspace.kaito.io/revision": "1"},
    },
    "spec": {
        "replicas": 1,
        "serviceName": "falcon-headless",
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"kaito.sh/workspace": "falcon"}},
        "template": {
            "metadata": {"labels": {"kaito.sh/workspace": "falcon"}},
            "spec": {
                "containers": [
                    {
                        "name": "falcon",
                        "image": "registry.example/base:1",
                        "command": ["serve"],
                        "args": ["--port", "5000"],
                        "env": [
                            {"name": "HF_HOME", "value": "/models"},
                            {
                                "name": "POD",
                                "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                            },
                        ],
                        "ports": [{"name": "http", "containerPort": 5000}],
                        "resources": {"limits": {"memory": "1024Mi"}},
                        "readinessProbe": {
                            "httpGet": {"path": "/health", "port": 5000},
                            "periodSeconds": 10,
                        },
                        "volumeMounts": [{"name": "weights", "mountPath": "/models"}],
                    }
                ],
                "tolerations": [{"key": "sku", "operator": "Exists", "effect": "NoSchedule"}],
                "volumes": [{"name": "weights", "emptyDir": {}}],
            },
        },
    },
}


def container(manifest: Manifest) -> Manifest:
    found: Manifest = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


def with_args(*args: str) -> Manifest:
    changed = copy.deepcopy(STATEFUL_SET)
    container(changed)["args"] = list(args)
    return changed


class World:
    """One StatefulSet, a user's kubectl, and rounds of the controller."""

    def __init__(
        self, cluster: Cluster, endpoint: Endpoint, client: Client, kubectl: Kubectl, folder: Path
    ) -> None:
        self._endpoint = endpoint
        self._client = client
        self.namespace = cluster.namespace
        self.kubectl = kubectl
        self.folder = folder
        self.desired = STATEFUL_SET

    async def live(self) -> Child | None:
        found = await self._client.get(STATEFUL_SETS, "falcon", self.namespace)
        assert found is None or isinstance(found, Child)
        return found

    async def there(self) -> Child:
        found = await self.live()
        assert found is not None
        return found

    async def round(self) -> Settled:
        settled = settle(self._named(self.desired), await self.live())
        await self.write(settled)
        return settled

    async def write(self, settled: Settled) -> None:
        """As the reconciler does it."""
        for manifest in settled.plan.apply:
            await self._client.apply(manifest, force=False)
        for change in settled.plan.change:
            await self._client.patch(
                change.resource, change.name, change.patch, namespace=change.namespace
            )

    async def rounds(self) -> tuple[Settled, int]:
        """Until one writes nothing; that one, and how many did."""
        for wrote in range(5):
            settled = await self.round()
            if not settled.plan.apply and not settled.plan.change:
                return settled, wrote
        raise AssertionError("it never comes to rest")

    async def container(self) -> Manifest:
        return container({"spec": (await self.there()).spec})

    async def edits(self) -> dict[str, tuple[str, ...]]:
        """Fields by manager, at rest."""
        settled, _ = await self.rounds()
        assert {edit.object for edit in settled.edits} <= {"StatefulSet/falcon"}
        return {edit.manager: edit.fields for edit in settled.edits}

    async def patch(self, patch: Manifest, *more: str) -> None:
        await self.kubectl("patch", "statefulset", "falcon", "-p", json.dumps(patch), *more)

    async def patch_container(self, fields: Manifest) -> None:
        fields = {"name": "falcon", **fields}
        await self.patch({"spec": {"template": {"spec": {"containers": [fields]}}}})

    async def create_as(self, manager: str, manifest: Manifest) -> None:
        """What another controller would have made."""
        async with Client(self._endpoint, field_manager=manager) as other:
            await other.create(self._named(manifest))

    def _named(self, manifest: Manifest) -> Manifest:
        metadata = {**manifest["metadata"], "namespace": self.namespace}
        return {**manifest, "metadata": metadata}


@pytest.fixture
def kubectl(installed: Path, binaries: Binaries, cluster: Cluster) -> Kubectl:
    program = str(binaries.path("kubectl"))

    async def run(*words: str, editor: str = "", stdin: str = "") -> str:
        argv = [program, "--kubeconfig", str(installed), "-n", cluster.namespace, *words]
        done = await asyncio.to_thread(
            subprocess.run,
            argv,
            capture_output=True,
            text=True,
            input=stdin,
            env={**os.environ, "KUBE_EDITOR": editor},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
async def world(
    cluster: Cluster, installed: Path, kubectl: Kubectl, tmp_path: Path
) -> AsyncIterator[World]:
    endpoint = config.kubeconfig(str(installed))
    async with Client(endpoint, field_manager=FIELD_MANAGER) as client:
        world = World(cluster, endpoint, client, kubectl, tmp_path)
        yield world


def an_editor(folder: Path, old: str, new: str) -> str:
    """A program that a user's hands stand in for."""
    script = folder / "editor.sh"
    script.write_text(f"#!/bin/sh\nexec sed -i '0,/{old}/s|{old}|{new}|' \"$1\"\n")
    script.chmod(0o755)
    return str(script)


async def test_kubectl_edit_adds_a_flag_and_it_stays(world: World) -> None:
    await world.rounds()
    editor = an_editor(world.folder, '- "5000"', '- "5000"\\n        - --load_in_4bit')
    await world.kubectl("edit", "statefulset", "falcon", editor=editor)
    edited = ["--port", "5000", "--load_in_4bit"]
    assert (await world.container())["args"] == edited
    settled, _ = await world.rounds()
    assert (await world.container())["args"] == edited
    assert settled.edits == (
        ForeignEdit(object="StatefulSet/falcon", manager="kubectl-edit", fields=(ARGS,)),
    )
    assert container(settled.effective)["args"] == edited


@pytest.mark.parametrize(
    ("words", "manager", "field"),
    [
        (("scale", "statefulset", "falcon", "--replicas=3"), "kubectl", "spec.replicas"),
        (("set", "image", "statefulset/falcon", "falcon=own:1"), "kubectl-set", IMAGE),
        (
            ("set", "env", "statefulset/falcon", "HF_HOME=/other"),
            "kubectl-set",
            "spec.template.spec.containers[name=falcon].env[name=HF_HOME].value",
        ),
        (
            ("set", "env", "statefulset/falcon", "NEW=1"),
            "kubectl-set",
            "spec.template.spec.containers[name=falcon].env[name=NEW]",
        ),
        (
            ("set", "resources", "statefulset", "falcon", "--limits=memory=2Gi"),
            "kubectl-set",
            "spec.template.spec.containers[name=falcon].resources.limits.memory",
        ),
    ],
    ids=["scale", "image", "env changed", "env added", "limits"],
)
async def test_an_edit_is_kept_and_named_while_our_own_changes_still_come(
    world: World, words: tuple[str, ...], manager: str, field: str
) -> None:
    await world.rounds()
    await world.kubectl(*words)
    before = (await world.there()).spec
    assert await world.edits() == {manager: (field,)}
    assert (await world.there()).spec == before
    world.desired = with_args("--port", "5000", "--new")
    assert await world.edits() == {manager: (field,)}
    expected = copy.deepcopy(before)
    container({"spec": expected})["args"] = ["--port", "5000", "--new"]
    assert (await world.there()).spec == expected


async def test_an_edit_set_back_is_ours_again_and_follows_us(world: World) -> None:
    await world.rounds()
    await world.patch_container({"args": ["--port", "5001"]})
    assert await world.edits() == {"kubectl-patch": (ARGS,)}
    await world.patch_container({"args": ["--port", "5000"]})
    assert await world.edits() == {}
    world.desired = with_args("--port", "5000", "--new")
    assert await world.edits() == {}
    assert (await world.container())["args"] == ["--port", "5000", "--new"]
    # And what we give up goes, though a user once agreed with it.
    del container(world.desired)["args"]
    assert await world.edits() == {}
    assert "args" not in await world.container()


async def test_a_field_given_up_is_ours_again(world: World) -> None:
    await world.rounds()
    await world.patch_container({"args": ["--port", "5001"]})
    await world.rounds()
    await world.patch_container({"args": None})
    assert await world.edits() == {}
    assert (await world.container())["args"] == ["--port", "5000"]


async def test_a_declared_field_stays_until_it_is_no_longer_declared(world: World) -> None:
    """`kubectl apply --server-side`: also where it first says what we say."""
    await world.rounds()
    pod = {"containers": [{"name": "falcon", "args": ["--port", "5000"]}]}
    declared: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "falcon"},
        "spec": {"template": {"spec": pod}},
    }

    async def declare() -> None:
        words = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        await world.kubectl(*words, stdin=json.dumps(declared))

    await declare()
    assert await world.edits() == {}
    world.desired = with_args("--port", "5000", "--new")
    assert await world.edits() == {"kubectl": (ARGS,)}
    assert (await world.container())["args"] == ["--port", "5000"]
    pod["containers"][0]["args"] = ["--mine"]
    await declare()
    assert await world.edits() == {"kubectl": (ARGS,)}
    assert (await world.container())["args"] == ["--mine"]
    del pod["containers"][0]["args"]
    await declare()
    assert await world.edits() == {}
    assert (await world.container())["args"] == ["--port", "5000", "--new"]


async def test_a_file_of_the_whole_applied_from_the_client_is_an_edit_where_it_differs(
    world: World,
) -> None:
    await world.rounds()
    whole = json.loads(await world.kubectl("get", "statefulset", "falcon", "-o", "json"))
    whole["spec"]["template"]["spec"]["containers"][0]["image"] = "own:2"
    await world.kubectl("apply", "-f", "-", stdin=json.dumps(whole))
    assert await world.edits() == {"kubectl-client-side-apply": (IMAGE,)}
    assert (await world.container())["image"] == "own:2"


async def test_a_file_of_the_whole_applied_by_the_server_does_not_freeze_our_notes(
    world: World,
) -> None:
    await world.rounds()
    whole = json.loads(await world.kubectl("get", "statefulset", "falcon", "-o", "json"))
    del whole["metadata"]["resourceVersion"], whole["status"]
    whole["spec"]["template"]["spec"]["containers"][0]["image"] = "own:2"
    words = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    await world.kubectl(*words, stdin=json.dumps(whole))
    edits = await world.edits()
    assert IMAGE in edits["kubectl"]
    world.desired = copy.deepcopy(STATEFUL_SET)
    world.desired["metadata"]["annotations"]["workspace.kaito.io/revision"] = "2"
    await world.rounds()
    assert (await world.there()).metadata.annotations["workspace.kaito.io/revision"] == "2"


async def test_another_source_of_a_value_or_a_volume_displaces_ours(world: World) -> None:
    await world.rounds()
    source = {"secretKeyRef": {"name": "s", "key": "k"}}
    await world.patch_container({"env": [{"name": "HF_HOME", "value": None, "valueFrom": source}]})
    claim = {"name": "weights", "emptyDir": None, "persistentVolumeClaim": {"claimName": "own"}}
    await world.patch({"spec": {"template": {"spec": {"volumes": [claim]}}}})
    probe = {"httpGet": None, "tcpSocket": {"port": 5000}}
    await world.patch_container({"readinessProbe": probe})
    before = (await world.there()).spec
    assert await world.edits() == {
        "kubectl-patch": (
            "spec.template.spec.containers[name=falcon].env[name=HF_HOME].valueFrom",
            "spec.template.spec.containers[name=falcon].readinessProbe.tcpSocket",
            "spec.template.spec.volumes[name=weights].persistentVolumeClaim",
        )
    }
    world.desired = with_args("--new")
    settled, _ = await world.rounds()
    expected = copy.deepcopy(before)
    container({"spec": expected})["args"] = ["--new"]
    assert (await world.there()).spec == expected
    assert settled.effective["spec"]["template"]["spec"]["volumes"][0] == {
        "name": "weights",
        "persistentVolumeClaim": {"claimName": "own"},
    }


async def test_what_hands_take_out_stays_out_until_the_note_goes(world: World) -> None:
    await world.rounds()
    await world.patch_container({"readinessProbe": None})
    settled, wrote = await world.rounds()
    assert wrote == 1
    assert settled.edits == (
        ForeignEdit(
            object="StatefulSet/falcon",
            manager="unknown",
            fields=("spec.template.spec.containers[name=falcon].readinessProbe (removed)",),
        ),
    )
    assert "readinessProbe" not in await world.container()
    world.desired = with_args("--new")
    await world.rounds()
    assert "readinessProbe" not in await world.container()
    assert (await world.container())["args"] == ["--new"]
    await world.kubectl("annotate", "statefulset", "falcon", "kaito.sh/removed-by-hand-")
    assert await world.edits() == {}
    assert "readinessProbe" in await world.container()


async def test_an_item_taken_out_of_a_list_stays_out(world: World) -> None:
    await world.rounds()
    await world.kubectl("set", "env", "statefulset/falcon", "HF_HOME-")
    await world.rounds()
    assert [each["name"] for each in (await world.container())["env"]] == ["POD"]


async def test_what_is_deleted_comes_back_as_ours_alone(world: World) -> None:
    await world.rounds()
    await world.patch_container({"image": "own:1", "readinessProbe": None})
    stale = await world.live()
    await world.rounds()
    await world.kubectl("delete", "statefulset", "falcon", "--cascade=background")
    # A round that has not heard of it must not make a torso.
    late = settle(world._named(with_args("--new")), stale)
    assert late.apply is not None
    with pytest.raises(ConflictError):
        await world.write(late)
    assert await world.live() is None
    assert await world.edits() == {}
    assert (await world.container())["image"] == "registry.example/base:1"
    assert "readinessProbe" in await world.container()


async def test_a_round_that_missed_an_edit_is_told_so_and_takes_nothing(world: World) -> None:
    await world.rounds()
    stale = await world.live()
    await world.patch_container({"args": ["--mine"]})
    late = settle(world._named(with_args("--new")), stale)
    with pytest.raises(FieldConflictError):
        await world.write(late)
    assert (await world.container())["args"] == ["--mine"]


async def test_what_the_go_controller_made_becomes_ours_down_to_what_we_no_longer_set(
    world: World,
) -> None:
    """Its binary is called `manager`, and so is it; hands that came before us stay."""
    theirs = with_args("--upstream")
    container(theirs)["env"].append({"name": "OLD", "value": "1"})
    container(theirs)["livenessProbe"] = {"exec": {"command": ["true"]}}
    await world.create_as("manager", theirs)
    await world.kubectl("set", "image", "statefulset/falcon", "falcon=own:1")
    world.desired = copy.deepcopy(STATEFUL_SET)
    container(world.desired)["livenessProbe"] = {"httpGet": {"path": "/health", "port": 5000}}
    assert await world.edits() == {"kubectl-set": (IMAGE,)}
    found = await world.container()
    assert found["args"] == ["--port", "5000"]
    assert found["image"] == "own:1"
    assert [each["name"] for each in found["env"]] == ["HF_HOME", "POD"]
    assert "exec" not in found["livenessProbe"]


async def test_a_restart_by_kubectl_is_part_of_what_runs_and_no_edit(world: World) -> None:
    await world.rounds()
    await world.kubectl("rollout", "restart", "statefulset", "falcon")
    settled, wrote = await world.rounds()
    assert (wrote, settled.edits) == (0, ())
    annotations = settled.effective["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations


async def test_our_label_cannot_be_taken(world: World) -> None:
    await world.rounds()
    words = ("label", "--overwrite", "statefulset", "falcon", "kaito.sh/workspace=other")
    await world.kubectl(*words)
    assert await world.edits() == {}
    assert (await world.there()).metadata.labels["kaito.sh/workspace"] == "falcon"


async def test_owners_are_not_kept_where_nobody_else_is_one(world: World) -> None:
    await world.rounds()
    await world.kubectl(
        "patch", "statefulset", "falcon", "--subresource=status", "-p", '{"status":{"replicas":1}}'
    )
    assert (await world.there()).metadata.managed_fields == ()
    await world.kubectl("scale", "statefulset", "falcon", "--replicas=2")
    owners: tuple[FieldOwner, ...] = (await world.there()).metadata.managed_fields
    assert [each.subresource for each in owners if each.manager == "kubectl"] == ["scale"]


async def test_the_controller_keeps_an_edit_names_it_and_then_rests(
    cluster: Cluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with cluster.controller() as process:
        await serving(cluster)
        editor = an_editor(tmp_path, "^        command:", "        args: [--load_in_4bit]\\n&")
        await kubectl("edit", "statefulset", "falcon", editor=editor)
        await eventually(lambda: is_edited(cluster, "StatefulSet/falcon", "kubectl-edit", ARGS))
        # The StatefulSet controller would have made the new pod by now.
        await cluster.serve()
        await quiet(process)
        told = (await cluster.workspace()).condition("InferenceReady").message
        assert f"edited by hand: StatefulSet/falcon {ARGS} (kubectl-edit)" in told
        assert "kubectl delete statefulset falcon" in told
        assert process.events.told.count(("Normal", "EditedByHand")) == 1
        before = len(process.writes)
        await cluster.edit({"metadata": {"labels": {"touched": "yes"}}})
        await asyncio.sleep(0.5)
        assert process.writes[before:] == []
    async with cluster.controller() as process:
        await asyncio.sleep(0.7)
        assert process.writes == []
    assert await args_of(cluster) == ["--load_in_4bit"]


async def test_a_workload_deleted_by_hand_comes_back_with_the_current_preset(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    async with cluster.controller():
        await serving(cluster)
        before = await cluster.stateful_set()
        assert before is not None
        await kubectl("set", "image", "statefulset/falcon", "falcon=own:1")
        await eventually(lambda: is_edited(cluster, "StatefulSet/falcon", "kubectl-set", IMAGE))
        await kubectl("delete", "statefulset", "falcon", "--cascade=background")
        await eventually(lambda: unedited(cluster))
        after = await cluster.stateful_set()
        assert after is not None
        assert after.metadata.uid != before.metadata.uid
        assert after.spec["template"] == before.spec["template"]


async def test_services_are_edited_deleted_and_come_back(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    async with cluster.controller() as process:
        await serving(cluster)
        patch = json.dumps({"spec": {"type": "NodePort", "publishNotReadyAddresses": False}})
        await kubectl("patch", "service", "falcon", "-p", patch)
        await eventually(
            lambda: is_edited(
                cluster,
                "Service/falcon",
                "kubectl-patch",
                "spec.type",
            )
        )
        for name in ("falcon", "falcon-headless"):
            await kubectl("delete", "service", name)
            await eventually(lambda name=name: cluster.service(name))
        await eventually(lambda: unedited(cluster))
        assert ("Normal", "EditsTakenBack") in process.events.told
        service = await cluster.service("falcon")
        assert service is not None
        assert service.spec["type"] == "ClusterIP"


async def test_a_scaled_workload_stays_scaled_and_is_not_called_ready(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    async with cluster.controller() as process:
        await serving(cluster)
        await kubectl("scale", "statefulset", "falcon", "--replicas=0")
        await eventually(
            lambda: is_edited(cluster, "StatefulSet/falcon", "unknown", "spec.replicas")
        )
        await cluster.serve()
        await eventually(lambda: is_not_ready(cluster))
        await quiet(process)
        found = await cluster.stateful_set()
        assert found is not None
        assert found.spec["replicas"] == 0
        await kubectl("scale", "statefulset", "falcon", "--replicas=1")
        await eventually(lambda: unedited(cluster))
        await cluster.serve()
        await eventually(lambda: is_ready(cluster))


async def serving(cluster: Cluster) -> None:
    await cluster.create_workspace()
    await cluster.bring_up(await cluster.one_claim())
    await eventually(cluster.stateful_set)
    await cluster.serve()
    await eventually(lambda: is_ready(cluster))


async def is_ready(cluster: Cluster) -> bool:
    return (await condition(cluster, "InferenceReady"))[0] == "True"


async def is_not_ready(cluster: Cluster) -> bool:
    return (await condition(cluster, "InferenceReady"))[0] == "False"


async def is_edited(cluster: Cluster, child: str, manager: str, field: str) -> bool:
    edits = (await cluster.workspace()).status.foreign_edits
    return any((e.object, e.manager) == (child, manager) and field in e.fields for e in edits)


async def unedited(cluster: Cluster) -> bool:
    return (
        not (await cluster.workspace()).status.foreign_edits
        and await cluster.stateful_set() is not None
    )


async def args_of(cluster: Cluster) -> list[str]:
    found = await cluster.stateful_set()
    assert found is not None
    args: list[str] = container({"spec": found.spec}).get("args", [])
    return args


async def quiet(process: Process) -> None:
    """Until no write has happened for a while."""
    known = -1
    while known != len(process.writes):
        known = len(process.writes)
        await asyncio.sleep(0.4)
