"""All that the controller says of a Workspace, walked on a real API server.

Provisioner, scheduler and kubelet are played, in their own words. `tests/conditions.yaml` names for
each reason the test that shows it; some stand with the part of the controller that they are about.
"""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from said import progress, told
from workspace_cluster import Cluster, eventually
from workspace_crd import altered, unruled

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.errors import ForbiddenError, InvalidError
from kube.meta import Manifest
from kube.objects import Unstructured
from localcluster.binaries import Binaries
from tests import builders
from tests.builders import NODE_CLASSES
from workspace_controller.manifests.nodepool import POOLS
from workspace_controller.settings import Settings

pytestmark = pytest.mark.integration

QUIET = dataclasses.replace(builders.settings(), benchmark=False)
"""Measures nothing, which would make more pods."""
POOLED = builders.settings(node_classes=NODE_CLASSES)
PENDING = "WorkspaceInferenceStatusPending"
LARGE = {"preset": "large-70b"}
TUNING = {
    "preset": {"name": "small-1b"},
    "method": "lora",
    "input": {"urls": ["http://localhost/refused.jsonl"]},
    "output": {"image": "registry.example/out:1", "imagePushSecret": "push"},
}

CLAIMS = [
    # stage of the claim, reason, words, stage, usual, next step
    ("Launched", "Provisioning", "pool ws1 is made", "WaitingForNode", "5m", ""),
    ("Launched", "QuotaExceeded", "24 more cores", "WaitingForQuota", "", "ask the cloud for more"),
    ("Launched", "InsufficientCapacity", "no A10", "WaitingForQuota", "", "wait for capacity"),
    ("Launched", "InsufficientCapacityError", "none", "WaitingForQuota", "", "wait for capacity"),
    ("Launched", "LaunchFailed", "403", "WaitingForNode", "5m", "log of the node provisioner"),
    ("Launched", "NodeClassNotReady", "no subnet", "Validating", "5s", "what the node class lacks"),
    ("Launched", "NodeClassReadinessUnknown", "not looked at yet", "Validating", "5s", ""),
    ("Launched", "ZonesOnStrike", "another provider's word", "WaitingForNode", "5m", ""),
    ("Registered", "NodeNotFound", "not registered", "WaitingForNode", "5m", "the machine boots"),
    ("Registered", "MultipleNodesFound", "matched two", "WaitingForNode", "5m", ""),
    ("Registered", "RegistrationHookPending", "hook a", "WaitingForNode", "5m", ""),
    ("Initialized", "NodeNotReady", "Node status is NotReady", "WaitingForNode", "5m", ""),
    ("Initialized", "StartupTaintsExist", "taint a", "WaitingForNode", "5m", ""),
    ("Initialized", "KnownEphemeralTaintsExist", "taint b", "WaitingForNode", "5m", ""),
    ("Initialized", "ResourceNotRegistered", "0 of 1", "WaitingForDriver", "2m", "device plugin"),
    ("Initialized", "GPUModelMismatch", "a T4", "WaitingForDriver", "2m", "device plugin"),
]


async def test_claims_are_told_in_their_provisioners_words(cluster: Cluster):
    async with cluster.controller(QUIET):
        await cluster.create_workspace()
        claim = await cluster.one_claim()
        workspace = await told(cluster, "ResourceReady", "False", "NodeClaimNotReady")
        assert workspace.condition("NodesReady").reason == "NodeNotReady"
        assert progress(workspace).message == "0 of 1 NodeClaims are ready"
        assert (workspace.status.state, workspace.status.target_node_count) == ("Pending", 1)
        for stage, reason, words, where, usual, next_step in CLAIMS:
            before = progress(workspace)
            await cluster.complain(claim, reason, words, stage)
            workspace = await told(cluster, "NodeClaimReady", "False", reason, words=words)
            now = progress(workspace)
            assert (now.stage, now.reason, now.message, now.usual) == (where, reason, words, usual)
            assert next_step in now.next_step
            assert bool(next_step) == bool(now.next_step)
            assert (before.since == now.since) or before.stage != now.stage
            assert workspace.condition("ResourceReady").reason == reason
            assert workspace.condition("InferenceReady").reason == PENDING
            assert workspace.condition("WorkspaceSucceeded").reason == "workspacePending"
            assert workspace.condition("WorkspaceSucceeded").message == words
        await cluster.complain(claim, "LaunchFailed", "so much " * 60)
        workspace = await told(cluster, "NodeClaimReady", "False", "LaunchFailed", words="...")
        assert 250 < len(workspace.condition("NodeClaimReady").message) < 260
        await cluster.complain(claim, "AwaitingReconciliation", "object is awaiting reconciliation")
        await told(cluster, "NodeClaimReady", "False", "NodeClaimNotReady")


async def test_nodes_are_told_by_what_they_lack_and_warn_of(cluster: Cluster):
    async with cluster.controller(QUIET):
        await cluster.create_workspace()
        node = await cluster.bring_up(await cluster.one_claim(), gpus=0)
        workspace = await told(cluster, "ResourceReady", "False", "NodePluginsNotReady")
        assert workspace.condition("NodeClaimReady").reason == "NodeClaimsReady"
        assert workspace.condition("NodesReady").message.startswith(
            f"nvidia.com/gpu is not allocatable yet: {node} has 0 of 1"
        )
        assert progress(workspace).stage == "WaitingForDriver"
        assert "device plugin" in progress(workspace).next_step

        await cluster.set_node(node, ready=False, pressure=("MemoryPressure", "PIDPressure"))
        workspace = await told(cluster, "NodesReady", "False", "NodeNotReady")
        assert workspace.condition("NodesReady").message == (
            "0 of 1 Nodes are ready with instance type local-gpu-1; warning: worker node(s) under"
            f" resource pressure: {node} (MemoryPressure, PIDPressure)"
        )
        assert progress(workspace).stage == "WaitingForNode"

        await cluster.set_node(node, pressure=("DiskPressure",))
        words = f"Enough Nodes are ready; warning: worker node(s) under resource pressure: {node}"
        workspace = await told(cluster, "NodesReady", "True", "NodesReady", words=words)
        assert workspace.condition("ResourceReady").reason == "workspaceResourceStatusSuccess"
        await cluster.set_node(node)
        await eventually(lambda: _says(cluster, "NodesReady", "Enough Nodes are ready"))


async def test_what_the_cluster_has_seen_is_what_is_usual(cluster: Cluster):
    async with cluster.controller(QUIET):
        await cluster.create_workspace(name="first")
        await eventually(lambda: cluster.claims("first"))
        (claim,) = await cluster.claims("first")
        await _initialized(cluster, claim, registered=240, initialized=330)
        await cluster.create_workspace()
        workspace = await told(cluster, "NodesReady", "False", "NodeNotReady")
        assert progress(workspace).usual == "4m"
        claim = await cluster.one_claim()
        await cluster.complain(claim, "ResourceNotRegistered", "0 of 1", "Initialized")
        workspace = await told(cluster, "NodeClaimReady", "False", "ResourceNotRegistered")
        assert progress(workspace).usual == "2m"


async def test_nodes_of_ones_own_have_a_reason_of_their_own(cluster: Cluster):
    async with cluster.controller(builders.settings(byo=True)):
        await cluster.create_workspace(instance_type="", labels={"apps": cluster.namespace})
        workspace = await told(cluster, "ResourceReady", "False", "workspaceResourceStatusNotReady")
        assert workspace.condition("NodesReady").reason == "NodeNotReady"
        assert "NodeClaimReady" not in {each.type for each in workspace.status.conditions}
        assert progress(workspace).stage == "WaitingForNode"


POOL_SAYS = [
    ("ReplicasProvisioned", "LimitReached", "WaitingForQuota", "raise the limits of the NodePool"),
    ("ReplicasProvisioned", "BackingOff", "WaitingForQuota", ""),
    ("ReplicasProvisioned", "CreateRefused", "WaitingForNode", ""),
    ("ReplicasProvisioned", "NotStatic", "WaitingForNode", ""),
    ("ReplicasProvisioned", "NodePoolNotReady", "Validating", "what the pool lacks"),
    ("Ready", "NodeClassNotReady", "Validating", "what the node class lacks"),
]


async def test_a_pool_is_told_in_its_provisioners_words(cluster: Cluster):
    name = f"{cluster.namespace}-falcon"
    async with cluster.controller(POOLED):
        await cluster.create_workspace()
        workspace = await told(cluster, "NodeClaimReady", "False", "NodeClassNotReady")
        assert progress(workspace).stage == "Validating"
        await _classes_ready(cluster)
        await told(cluster, "NodeClaimReady", "False", "NodeClaimNotReady")
        for kind, reason, stage, next_step in POOL_SAYS:
            await _pool_says(cluster, name, kind, reason, f"it says {reason}")
            workspace = await told(cluster, "NodeClaimReady", "False", reason, stage=stage)
            assert progress(workspace).message == f"it says {reason}"
            assert next_step in progress(workspace).next_step
        await cluster.client.patch(POOLS, name, {"metadata": {"finalizers": ["kaito.sh/test"]}})
        await cluster.client.delete(POOLS, name)
        await told(cluster, "NodeClaimReady", "False", "NodePoolDeleting", words="being deleted")
    await _forget_pools(cluster, name)


async def test_a_pool_that_may_not_be_made_is_told_and_not_said_to_have_been(cluster: Cluster):
    async with cluster.controller(POOLED) as process:
        await _classes_ready(cluster)
        process.client.apply = _forbidden("no more pools")  # type: ignore[method-assign]
        await cluster.create_workspace()
        words = "(last reconcile error: 403 Forbidden: no more pools)"
        await told(cluster, "NodeClaimReady", "False", "NodeClaimNotReady", words=words)
        assert ("Warning", "NodePoolCreationFailed") in process.events.told
        assert ("Normal", "NodePoolCreated") not in process.events.told
    await _forget_pools(cluster, f"{cluster.namespace}-falcon")


@pytest.mark.parametrize(
    ("given", "settings", "reason", "words", "next_step"),
    [
        pytest.param(
            {"instance_type": "local-gpu-9"},
            QUIET,
            "InvalidInstanceType",
            "local-gpu-9",
            "create it anew with an instance type",
            id="InvalidInstanceType",
        ),
        pytest.param(
            {"preset": "smal-1b"},
            QUIET,
            "InvalidPreset",
            'did you mean "small-1b"',
            "a preset cannot be edited",
            id="InvalidPreset",
        ),
        pytest.param(
            {**LARGE, "annotations": {"kaito.sh/runtime": "llamacpp"}},
            QUIET,
            "RuntimeNotSupported",
            "annotation kaito.sh/runtime",
            "kubectl edit workspace falcon",
            id="RuntimeNotSupported",
        ),
        pytest.param(
            {**LARGE, "instance_type": "local-cpu-2"},
            QUIET,
            "ModelDoesNotFit",
            "resource.instanceType: ",
            "larger instance type",
            id="ModelDoesNotFit",
        ),
        pytest.param(
            {"inference": {"config": "absent"}},
            QUIET,
            "InvalidConfig",
            '"absent"',
            "correct the ConfigMap",
            id="InvalidConfig",
        ),
        pytest.param(
            {"annotations": {"kaito.sh/node-class-name": "ubunto"}},
            POOLED,
            "InvalidNodeClass",
            'did you mean "ubuntu"',
            "kubectl edit workspace falcon",
            id="InvalidNodeClass",
        ),
        pytest.param(
            {
                **LARGE,
                "instance_type": "local-gpu-2",
                "annotations": {"kaito.sh/node-class-name": "ubuntu"},
            },
            POOLED,
            "NodeClassDiskTooSmall",
            "needs a disk of 146 GiB, and it gives 100 GiB",
            "annotation kaito.sh/node-class-name",
            id="NodeClassDiskTooSmall",
        ),
    ],
)
async def test_what_only_the_user_can_mend_is_said_before_anything_is_paid_for(
    cluster: Cluster,
    given: dict[str, Any],
    settings: Settings,
    reason: str,
    words: str,
    next_step: str,
):
    async with cluster.controller(settings) as process:
        await cluster.create_workspace(**given)
        workspace = await told(cluster, "ResourceReady", "False", reason, words=words)
        _is_refused(workspace, reason)
        assert next_step in progress(workspace).next_step
        assert process.events.told.count(("Warning", reason)) == 1
    assert await cluster.claims() == []
    assert await cluster.client.get(POOLS, f"{cluster.namespace}-falcon") is None


async def test_more_gpus_than_a_node_of_ones_own_has_are_refused(cluster: Cluster):
    labels = {"apps": cluster.namespace}
    gpu = {"product": "NVIDIA-A10", "count": "1", "memory": "24576"}
    byo = builders.settings(byo=True, gates={"enableAccelerator": True})
    async with cluster.controller(byo):
        told_by_node = {f"nvidia.com/gpu.{key}": value for key, value in gpu.items()}
        await cluster.ready_node(f"own-{cluster.namespace}", {**labels, **told_by_node}, gpus=1)
        asked = {"mode": "accelerator", "count": 4}
        resource = {"labelSelector": {"matchLabels": labels}, "partition": asked}
        await cluster.create_workspace(resource=resource)
        workspace = await told(cluster, "ResourceReady", "False", "InvalidPartition")
        _is_refused(workspace, "InvalidPartition")


async def test_a_pool_of_that_name_that_is_somebody_elses_is_left_alone(cluster: Cluster):
    name = f"{cluster.namespace}-falcon"
    reference = {"group": NODE_CLASSES.group, "kind": NODE_CLASSES.kind, "name": "ubuntu"}
    template = {"spec": {"nodeClassRef": reference, "requirements": []}}
    metadata = {"name": name, "labels": {"of": "somebody"}}
    spec = {"replicas": 3, "template": template}
    await cluster.client.create(
        {"apiVersion": POOLS.api_version, "kind": POOLS.kind, "metadata": metadata, "spec": spec}
    )
    async with cluster.controller(POOLED):
        await cluster.create_workspace()
        workspace = await told(cluster, "ResourceReady", "False", "NodePoolNameTaken", words=name)
        _is_refused(workspace, "NodePoolNameTaken")
        assert "under another name" in progress(workspace).next_step
        pool = await cluster.client.get(POOLS, name)
        assert pool is not None
        assert pool.spec["replicas"] == 3
    await _forget_pools(cluster, name)


async def test_what_an_earlier_api_server_let_in_is_said(cluster: Cluster, installed: Path):
    """Neither preset nor template: our CRD refuses it; one without rules has stored it."""
    async with altered(installed, unruled, lambda: _anything_goes(cluster)):
        await cluster.create_workspace(inference={"preset": None})
    async with cluster.controller(QUIET):
        workspace = await told(cluster, "ResourceReady", "False", "InvalidWorkspace")
        _is_refused(workspace, "InvalidWorkspace")


async def test_what_the_api_server_refuses_is_told_at_every_condition_and_goes_once_mended(
    cluster: Cluster,
):
    """However much it says: a status that is refused in its turn would tell nothing."""
    async with cluster.controller(QUIET) as process:
        create = process.client.create
        process.client.create = _forbidden("a policy says no " * 3_000)  # type: ignore[method-assign]
        await cluster.create_workspace()
        words = "(last reconcile error: 403 Forbidden: a policy says no"
        workspace = await told(cluster, "NodeClaimReady", "False", "NodeClaimNotReady", words=words)
        assert all(words in each.message for each in workspace.status.conditions)
        assert len(workspace.status.conditions) == 5
        process.client.create = create  # type: ignore[method-assign]
        await cluster.one_claim()
        await eventually(lambda: _nobody_says(cluster, "last reconcile error"))
        await told(cluster, "NodeClaimReady", "False", "NodeClaimNotReady")


async def test_an_end_is_told_and_leaves_state_and_the_rest_as_they_were(cluster: Cluster):
    async with cluster.controller(QUIET):
        await cluster.create_workspace()
        claim = await cluster.one_claim()
        name = claim.metadata.name
        held = {"metadata": {"finalizers": ["karpenter.sh/termination"]}}
        await cluster.client.patch(NODE_CLAIMS, name, held)
        await cluster.bring_up(claim)
        await eventually(cluster.stateful_set)
        await cluster.serve()
        await told(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded")
        await cluster.client.delete(WORKSPACES, "falcon", namespace=cluster.namespace)
        words = f"waiting for NodeClaims to end: {name}"
        workspace = await told(
            cluster, "WorkspaceDeleting", "True", "workspaceDeleted", words=words
        )
        assert workspace.status.state == "Ready"
        assert (progress(workspace).stage, progress(workspace).message) == ("Deleting", words)
        await cluster.client.patch(NODE_CLAIMS, name, {"metadata": {"finalizers": None}})
        await eventually(lambda: _gone(cluster))


@pytest.fixture
def kubectl(installed: Path, binaries: Binaries, cluster: Cluster) -> Callable[..., str]:
    program = [str(binaries.path("kubectl")), "--kubeconfig", str(installed)]

    def run(*words: str) -> str:
        argv = [*program, "-n", cluster.namespace, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    return run


async def test_kubectl_shows_it_in_columns_and_in_a_block(
    cluster: Cluster, kubectl: Callable[..., str]
):
    async with cluster.controller(QUIET):
        await _tune(cluster, "tuned")
        await cluster.create_workspace(name="waits", **LARGE)
        await cluster.create_workspace()
        await cluster.bring_up(await cluster.one_claim())
        await eventually(cluster.stateful_set)
        await cluster.serve()
        await told(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded")
        await eventually(lambda: _stage(cluster, "waits", "WaitingForNode"))
        await eventually(lambda: _stage(cluster, "tuned", "Validating"))
        rows = _columns(await asyncio.to_thread(kubectl, "get", "workspace", "-o", "wide"))
        described = await asyncio.to_thread(kubectl, "describe", "workspace", "waits")
    for row in rows:
        assert row.pop("AGE").endswith("s")
        assert row.pop("ELAPSED").endswith("s")
    falcon, tuned, waits = rows
    nodes = (await cluster.workspace("waits")).status.target_node_count
    assert nodes > 1
    assert falcon == {
        "NAME": "falcon",
        "INSTANCE": "local-gpu-1",
        "RESOURCEREADY": "True",
        "INFERENCEREADY": "True",
        "JOBSTARTED": "",
        "WORKSPACESUCCEEDED": "True",
        "TARGETNODECOUNT": "1",
        "STATE": "Ready",
        "STAGE": "Ready",
        "ENDPOINT": f"http://falcon.{cluster.namespace}.svc.cluster.local",
    }
    told_of_waits = {key: waits[key] for key in ("RESOURCEREADY", "STATE", "STAGE", "ENDPOINT")}
    assert told_of_waits == {
        "RESOURCEREADY": "False",
        "STATE": "Pending",
        "STAGE": "WaitingForNode",
        "ENDPOINT": "",
    }
    assert waits["TARGETNODECOUNT"] == str(nodes)
    assert (tuned["JOBSTARTED"], tuned["INFERENCEREADY"]) == ("False", "")
    assert (tuned["WORKSPACESUCCEEDED"], tuned["STATE"]) == ("False", "Failed")
    block = described[described.index("  Progress:") :].splitlines()[1:]
    shown = dict(line.strip().partition(":")[::2] for line in block if line.startswith("    "))
    assert shown.pop("Since").strip().startswith("20")
    shown.pop("Usual")  # by whether falcon's node, which took no time, has been counted before
    assert {key: value.strip() for key, value in shown.items() if value.strip()} == {
        "Message": f"0 of {nodes} NodeClaims are ready",
        "Reason": "NodeClaimNotReady",
        "Stage": "WaitingForNode",
    }


def _columns(table: str) -> list[dict[str, str]]:
    """kubectl pads each column to its widest cell, so the heads say where cells begin."""
    head, *lines = table.splitlines()
    names = head.split()
    starts = [head.index(name) for name in names]
    starts[names.index("STATE")] = head.index(" STATE ") + 1
    ends = [*starts[1:], None]
    cells = list(zip(names, starts, ends, strict=True))
    return [{name: line[start:end].strip() for name, start, end in cells} for line in lines]


def _is_refused(workspace: Any, reason: str) -> None:
    assert workspace.status.state == "Pending"
    assert (progress(workspace).stage, progress(workspace).reason) == ("Validating", reason)
    assert progress(workspace).message == workspace.condition("ResourceReady").message
    inference = workspace.condition("InferenceReady")
    assert (inference.reason, inference.message) == (PENDING, f"waiting for resources: {reason}")
    assert workspace.condition("WorkspaceSucceeded").reason == "workspacePending"


async def _tune(cluster: Cluster, name: str) -> None:
    manifest = builders.a_workspace_manifest(name=name)
    del manifest["inference"]
    metadata = {**manifest["metadata"], "namespace": cluster.namespace}
    await cluster.client.create({**manifest, "metadata": metadata, "tuning": TUNING})


def _forbidden(message: str) -> Any:
    async def refuse(manifest: Manifest, **_: bool) -> Manifest:
        raise ForbiddenError(403, "Forbidden", message)

    return refuse


async def _initialized(
    cluster: Cluster, claim: NodeClaim, *, registered: int, initialized: int
) -> None:
    """So many seconds after it was made."""
    born = claim.metadata.creation_timestamp
    assert born is not None
    after = {"Launched": 1, "Registered": registered, "Initialized": initialized}
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "lastTransitionTime": f"{born + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}",
        }
        for kind, seconds in after.items()
    ]
    status = {"status": {"conditions": conditions}}
    await cluster.client.patch(NODE_CLAIMS, claim.metadata.name, status, subresource="status")


async def _classes_ready(cluster: Cluster) -> None:
    """What their provider does."""
    kind = NODE_CLASSES.resource
    for name in NODE_CLASSES.names:
        await eventually(lambda name=name: cluster.client.get(kind, name))
        await cluster.client.patch(kind, name, _condition("Ready", "True"), subresource="status")


async def _pool_says(cluster: Cluster, name: str, kind: str, reason: str, message: str) -> None:
    await eventually(lambda: cluster.client.get(POOLS, name))
    said = _condition(kind, "False", reason, message)
    await cluster.client.patch(POOLS, name, said, subresource="status")


def _condition(kind: str, status: str, reason: str = "Ready", message: str = "") -> Manifest:
    since = "2026-11-21T12:00:00Z"
    told = {"type": kind, "status": status, "reason": reason, "message": message}
    return {"status": {"conditions": [{**told, "lastTransitionTime": since}]}}


async def _forget_pools(cluster: Cluster, name: str) -> None:
    if await cluster.client.get(POOLS, name) is not None:
        await cluster.client.patch(POOLS, name, {"metadata": {"finalizers": None}})
        await cluster.client.delete(POOLS, name)
    for each in NODE_CLASSES.names:
        await cluster.client.delete(NODE_CLASSES.resource, each)


async def _anything_goes(cluster: Cluster) -> bool:
    try:
        await cluster.create_workspace(name="probe", inference={"preset": None})
    except InvalidError:
        return False
    await cluster.client.delete(WORKSPACES, "probe", namespace=cluster.namespace)
    return True


async def _says(cluster: Cluster, kind: str, message: str) -> bool:
    return (await cluster.workspace()).condition(kind).message == message


async def _nobody_says(cluster: Cluster, words: str) -> bool:
    conditions = (await cluster.workspace()).status.conditions
    return not any(words in each.message for each in conditions)


async def _stage(cluster: Cluster, name: str, stage: str) -> bool:
    return progress(await cluster.workspace(name)).stage == stage


async def _gone(cluster: Cluster) -> bool:
    found: Unstructured | None = await cluster.client.get(WORKSPACES, "falcon", cluster.namespace)
    return found is None
