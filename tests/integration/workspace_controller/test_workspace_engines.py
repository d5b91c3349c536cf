"""Every engine's pods are taken by a real API server, and what breaks the plan is refused."""

from __future__ import annotations

import pytest
from workspace_cluster import Cluster, condition, eventually

from kube.objects import CONFIG_MAPS

pytestmark = pytest.mark.integration

STYLE = {"source": {"name": "style", "volumeSource": {"persistentVolumeClaim": {"claimName": "s"}}}}
OWN_IMAGE = {"image": "registry.example/own:7", "imagePullSecrets": ["own-registry"]}


def annotated(**given: str) -> dict[str, object]:
    return {"annotations": {f"kaito.sh/{key.replace('_', '-')}": it for key, it in given.items()}}


@pytest.mark.parametrize(
    ("given", "image"),
    [
        pytest.param(
            {
                "preset": "large-70b",
                "instance_type": "local-gpu-2",
                **annotated(distributed_executor="mp"),
            },
            "kaito-serving-vllm",
            id="vLLM over two nodes by itself",
        ),
        pytest.param(
            {
                "inference": {
                    "config": "options",
                    "preset": {"name": "small-1b", "presetOptions": OWN_IMAGE},
                },
                **annotated(runtime="transformers"),
            },
            "registry.example/own:7",
            id="transformers",
        ),
        pytest.param(
            {
                "instance_type": "local-gpu-2",
                "inference": {"config": "options", "adapters": [STYLE]},
                **annotated(runtime="tgi"),
            },
            "text-generation-inference:3.3",
            id="TGI",
        ),
        pytest.param(
            {"instance_type": "local-gpu-2", **annotated(runtime="llamacpp")},
            "kaito-serving-llamacpp",
            id="llama.cpp with GPUs",
        ),
        pytest.param(
            {"inference": {"preset": {"name": "small-1b", "presetOptions": OWN_IMAGE}}},
            "registry.example/own:7",
            id="an image of one's own",
        ),
    ],
)
async def test_an_engines_workload_is_taken_and_then_left_alone(
    cluster: Cluster, given: dict[str, object], image: str
):
    async with cluster.controller() as process:
        await cluster.create_config()
        await cluster.deploy(**given)
        await cluster.serve()
        await eventually(cluster.succeeded)
        found = await cluster.stateful_set()
        assert found is not None
        assert image in found.spec["template"]["spec"]["containers"][0]["image"]
        await cluster.touch_in_vain(process)


async def test_a_file_that_breaks_the_plan_is_refused_and_can_be_mended(cluster: Cluster):
    async with cluster.controller():
        await cluster.create_config()
        await cluster.create_workspace(inference={"config": "options"})
        await eventually(cluster.claimed)
        await _write(cluster, "vllm:\n  tensor-parallel-size: 8\n")
        await eventually(lambda: _says(cluster, "vllm.tensor-parallel-size belongs to the plan"))
        assert await condition(cluster, "ResourceReady") == ("False", "InvalidConfig")
        await _write(cluster, "vllm:\n  max-num-seqs: 8\n")
        await eventually(lambda: _mended(cluster))


async def _write(cluster: Cluster, text: str) -> None:
    data = {"data": {"inference_config.yaml": text}}
    await cluster.client.patch(CONFIG_MAPS, "options", data, namespace=cluster.namespace)


async def _says(cluster: Cluster, words: str) -> bool:
    return words in (await cluster.workspace()).condition("ResourceReady").message


async def _mended(cluster: Cluster) -> bool:
    return (await condition(cluster, "ResourceReady"))[1] != "InvalidConfig"
