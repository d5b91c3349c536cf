"""Every kind of workload: taken by a real API server, and left alone afterwards."""

from __future__ import annotations

import pytest
from workspace_cluster import Cluster, condition, eventually

from apis.kaito.v1beta1.workspace import WORKSPACES
from kube.objects import NODES
from tests import builders

pytestmark = pytest.mark.integration

ADAPTERS = [
    {"source": {"name": "legal.v1", "image": "registry.example/l:1", "imagePullSecrets": ["p"]}},
    {"source": {"name": "style", "volumeSource": {"persistentVolumeClaim": {"claimName": "s"}}}},
]
TEMPLATE = {
    "metadata": {"labels": {"team": "search"}},
    "spec": {
        "containers": [
            {
                "name": "own",
                "image": "registry.example/own:1",
                "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}},
            }
        ],
        "tolerations": [{"key": "own", "operator": "Exists"}],
    },
}


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="vllm"),
        pytest.param({"annotations": {"kaito.sh/enablelb": "True"}}, id="load balancer"),
        pytest.param(
            {
                "instance_type": "local-cpu-2",
                "annotations": {"kaito.sh/use-local-weights": "true"},
            },
            id="llamacpp",
        ),
        pytest.param({"preset": "large-70b", "instance_type": "local-gpu-2"}, id="several nodes"),
        pytest.param(
            {
                "inference": {
                    "preset": {
                        "name": "gated-1b",
                        "presetOptions": {"modelAccessSecret": "hub-token"},
                    },
                    "config": "options",
                    "adapters": ADAPTERS,
                }
            },
            id="all options",
        ),
        pytest.param({"inference": {"preset": None, "template": TEMPLATE}}, id="own template"),
    ],
)
async def test_a_workload_is_taken_and_then_left_alone(cluster: Cluster, given):
    async with cluster.controller() as process:
        await cluster.create_config()
        await cluster.deploy(**given)
        await cluster.serve()
        await eventually(cluster.succeeded)
        await cluster.touch_in_vain(process)


async def test_an_edit_of_ones_own_template_reaches_the_pods(cluster: Cluster):
    async with cluster.controller():
        await cluster.create_workspace(inference={"preset": None, "template": TEMPLATE})
        await cluster.bring_up(await cluster.one_claim())
        await eventually(cluster.stateful_set)
        other = [{"name": "own", "image": "registry.example/own:2"}]
        await cluster.edit({"inference": {"template": {"spec": {"containers": other}}}})
        await eventually(lambda: _image(cluster, "registry.example/own:2"))


async def test_nodes_of_ones_own_are_used_and_nothing_is_asked_for(cluster: Cluster):
    label = {"apps": cluster.namespace}
    labels = {
        **label,
        "nvidia.com/gpu.product": "NVIDIA-A10",
        "nvidia.com/gpu.count": "1",
        "nvidia.com/gpu.memory": "24576",
    }
    name = f"own-{cluster.namespace}"
    async with cluster.controller(builders.settings(byo=True)):
        await cluster.create_workspace(instance_type="", labels=label)
        await eventually(lambda: _nodes_are_missing(cluster))
        await cluster.ready_node(name, labels, gpus=1)
        await eventually(cluster.stateful_set)
        await cluster.serve()
        await eventually(cluster.succeeded)
        assert (await cluster.workspace()).status.worker_nodes == (name,)
        assert await cluster.claims() == []
        await cluster.client.delete(WORKSPACES, "falcon", namespace=cluster.namespace)
        await eventually(lambda: _gone(cluster))
    await cluster.client.delete(NODES, name)


async def test_what_the_api_server_refuses_is_in_the_status_and_tried_again(cluster: Cluster):
    async with cluster.controller() as process:
        await cluster.create_workspace(labels={"apps": "no label value"})
        await eventually(lambda: _says(cluster, "last reconcile error: 422 Invalid"))
        await eventually(lambda: _tried(process, 3))
        assert ("Warning", "NodeClaimCreationFailed") in process.events.told
    assert await cluster.claims() == []


async def _nodes_are_missing(cluster: Cluster) -> bool:
    return await condition(cluster, "NodesReady") == ("False", "NodeNotReady")


async def _image(cluster: Cluster, image: str) -> bool:
    found = await cluster.stateful_set()
    assert found is not None
    return bool(found.spec["template"]["spec"]["containers"][0]["image"] == image)


async def _gone(cluster: Cluster) -> bool:
    return await cluster.client.get(WORKSPACES, "falcon", cluster.namespace) is None


async def _says(cluster: Cluster, words: str) -> bool:
    return words in (await cluster.workspace()).condition("ResourceReady").message


async def _tried(process, times: int) -> bool:
    return process.writes.count("create NodeClaim") >= times
