"""Adapters of a running Workspace on a real API server; serving pods and loaders are played."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from workspace_cluster import Cluster, eventually

from kube.errors import AlreadyExistsError
from kube.meta import Manifest
from kube.objects import PODS, SECRETS, Pod

pytestmark = pytest.mark.integration

IMAGE = {"source": {"name": "legal", "image": "registry.example/legal:1"}}
VOLUME = {
    "source": {"name": "style", "volumeSource": {"persistentVolumeClaim": {"claimName": "s"}}}
}
HUB = {"source": {"name": "chat", "huggingFace": "owner/repo"}, "strength": "0.5"}


async def start(cluster: Cluster, *adapters: Manifest) -> None:
    """A Workspace with these adapters, and its pod, which serves."""
    account = {"name": "default", "namespace": cluster.namespace}
    with suppress(AlreadyExistsError):
        await cluster.client.create(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}
        )
    await cluster.create_workspace(inference={"adapters": list(adapters)})
    await cluster.bring_up(await cluster.one_claim())
    await eventually(cluster.stateful_set)
    await serving_pod(cluster)


async def serving_pod(cluster: Cluster) -> None:
    """What the StatefulSet controller and a kubelet do."""
    found = await cluster.stateful_set()
    assert found is not None
    template = found.spec["template"]
    metadata = {**template["metadata"], "name": "falcon-0", "namespace": cluster.namespace}
    spec = {**template["spec"], "nodeName": "node-of-falcon"}
    await cluster.client.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    )
    ready = {"type": "Ready", "status": "True", "reason": "", "message": ""}
    status = {"phase": "Running", "podIP": "10.244.1.7", "conditions": [ready]}
    await set_status(cluster, "falcon-0", status)


async def set_status(cluster: Cluster, name: str, status: Manifest) -> None:
    await cluster.client.patch(
        PODS, name, {"status": status}, namespace=cluster.namespace, subresource="status"
    )


async def loaders(cluster: Cluster, phase: str | None = None) -> list[Pod]:
    found = await cluster.client.list(
        PODS, namespace=cluster.namespace, labels="kaito.sh/workspace-loader=falcon"
    )
    return [pod for pod in found.items if phase in (None, pod.status.phase)]


async def end_loaders(
    cluster: Cluster, phase: str, message: str = "", at: datetime | None = None
) -> None:
    """Every loader that has not succeeded comes to this end."""
    for pod in await loaders(cluster):
        ended = {
            "exitCode": int(phase == "Failed"),
            "message": message,
            "reason": phase,
            "finishedAt": f"{at or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        container = {
            "name": "loader",
            "state": {"terminated": ended},
            "ready": False,
            "restartCount": 0,
            "image": "",
            "imageID": "",
        }
        status = {"phase": phase, "containerStatuses": [container]}
        await set_status(cluster, pod.metadata.name, status)


async def has(cluster: Cluster) -> set[str]:
    pod = await cluster.client.get(PODS, "falcon-0", cluster.namespace)
    assert pod is not None
    return set(json.loads(pod.metadata.annotations["kaito.sh/adapters"]))


async def states(cluster: Cluster) -> dict[str, str]:
    workspace = await cluster.workspace()
    return {each.name: each.state for each in workspace.status.adapters}


async def are(cluster: Cluster, **expected: str) -> bool:
    return await states(cluster) == expected


async def count(cluster: Cluster, number: int) -> bool:
    return len(await loaders(cluster)) == number


async def ask_for(cluster: Cluster, *adapters: Manifest) -> None:
    await cluster.edit({"inference": {"adapters": list(adapters)}})


async def template_of(cluster: Cluster) -> dict[str, Any]:
    found = await cluster.stateful_set()
    assert found is not None
    template: dict[str, Any] = found.spec["template"]
    return template


async def test_adapters_come_and_go_while_the_pod_serves(cluster: Cluster):
    async with cluster.controller() as process:
        await start(cluster)
        before = (await template_of(cluster))["metadata"]["annotations"]["kaito.sh/pod-hash"]
        await ask_for(cluster, IMAGE, VOLUME, HUB)
        await eventually(lambda: are(cluster, legal="Loading", style="Loading", chat="Loading"))
        await eventually(lambda: count(cluster, 3))
        await end_loaders(cluster, "Succeeded")
        await eventually(lambda: are(cluster, legal="Ready", style="Ready", chat="Ready"))
        assert await has(cluster) == {"legal", "style", "chat"}
        await eventually(lambda: count(cluster, 0))
        await ask_for(cluster, VOLUME)
        await eventually(lambda: are(cluster, style="Ready", legal="Removing", chat="Removing"))
        await eventually(lambda: count(cluster, 2))
        await end_loaders(cluster, "Succeeded")
        await eventually(lambda: are(cluster, style="Ready"))
        assert await has(cluster) == {"style"}
        template = await template_of(cluster)
        assert set(json.loads(template["metadata"]["annotations"]["kaito.sh/adapters"])) == {
            "style"
        }
        assert template["metadata"]["annotations"]["kaito.sh/pod-hash"] == before
        told = {reason for _, reason in process.events.told}
        assert {"AdapterLoaded", "AdapterRemoved"} <= told
        pod = await cluster.client.get(PODS, "falcon-0", cluster.namespace)
        assert pod is not None
        assert pod.metadata.deletion_timestamp is None


async def test_a_pod_is_started_with_what_is_asked_for_then(cluster: Cluster):
    async with cluster.controller() as process:
        await start(cluster, IMAGE)
        await eventually(lambda: are(cluster, legal="Ready"))
        assert await loaders(cluster) == []
        await cluster.touch_in_vain(process)


async def test_what_a_loader_says_is_in_the_status(cluster: Cluster):
    async with cluster.controller() as process:
        await start(cluster)
        await ask_for(cluster, IMAGE)
        await eventually(lambda: count(cluster, 1))
        await end_loaders(cluster, "Failed", "LoRA rank 64 is greater than max_lora_rank 32.")
        await eventually(lambda: are(cluster, legal="Failed"))
        (told,) = (await cluster.workspace()).status.adapters
        assert told.message == "LoRA rank 64 is greater than max_lora_rank 32."
        # Had it ended long ago, it would be tried again, and the record of it would go.
        await end_loaders(cluster, "Failed", at=datetime.now(UTC) - timedelta(minutes=1))
        await eventually(lambda: _pending(cluster))
        await eventually(lambda: count(cluster, 1))
        assert ("Warning", "AdapterFailed") in process.events.told


async def _pending(cluster: Cluster) -> bool:
    return bool(await loaders(cluster, "Pending"))


async def test_a_controller_that_starts_anew_goes_on_where_the_last_one_stopped(cluster: Cluster):
    async with cluster.controller():
        await start(cluster)
        await ask_for(cluster, IMAGE)
        await eventually(lambda: count(cluster, 1))
    await end_loaders(cluster, "Succeeded")
    async with cluster.controller():
        await eventually(lambda: are(cluster, legal="Ready"))
        assert await has(cluster) == {"legal"}
        await eventually(lambda: count(cluster, 0))


async def test_the_token_is_made_once_and_stays(cluster: Cluster):
    async with cluster.controller():
        await start(cluster)
        secret = await cluster.client.get(SECRETS, "falcon-adapters", cluster.namespace)
        assert secret is not None
        assert len(secret.data["token"]) > 40
    async with cluster.controller():
        await ask_for(cluster, IMAGE)
        await eventually(lambda: count(cluster, 1))
    again = await cluster.client.get(SECRETS, "falcon-adapters", cluster.namespace)
    assert again == secret
