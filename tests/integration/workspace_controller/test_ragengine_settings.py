"""What a RAGEngine asks of its service by annotations, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest
from ragengine_cluster import EnginePods, RagCluster
from workspace_cluster import eventually

from kube.meta import Manifest
from kube.objects import CONFIG_MAPS, SECRETS, Unstructured

pytestmark = pytest.mark.integration

SETTINGS = {"kaito.sh/rag-settings": "settings"}
STORE = {
    "kaito.sh/rag-object-store": "s3://bucket/prefix",
    "kaito.sh/rag-object-store-secret": "bucket",
}
KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "hush"}


async def test_settings_reach_the_pod_and_a_change_of_them_rolls_it(rag: RagCluster) -> None:
    async with rag.both() as process, EnginePods(rag, "machine").at_work() as pods:
        await rag.create_engine(compute=None, annotations=SETTINGS)
        words = 'there is no ConfigMap "settings"'
        await rag.told("ServiceReady", "False", "RAGSettingsNotFound", words)
        assert ("Warning", "RAGSettingsNotFound") in process.events.told
        await rag.config_map("settings", RAG_CHUNK_TOKENS="256", RAG_PORT="80")
        words = 'key RAG_PORT of ConfigMap "settings": cannot be set there'
        await rag.told("ServiceReady", "False", "InvalidRAGSettings", words)
        await rag.told("RAGEngineSucceeded", "False", "ragengineFailed", words)
        assert await rag.deployment() is None

        await _set(rag, RAG_PORT=None)
        await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess")
        assert (await _environment(rag))["RAG_CHUNK_TOKENS"] == {"value": "256"}
        await _set(rag, RAG_CHUNK_TOKENS="512", RAG_LANGUAGE="german")
        await eventually(lambda: _rolled(rag, pods, 2))
        assert pods.unserved == 0
        found = await _environment(rag)
        assert found["RAG_CHUNK_TOKENS"] == {"value": "512"}
        assert found["RAG_LANGUAGE"] == {"value": "german"}
        await _set(rag, RAG_LANGUAGE=None)
        await eventually(lambda: _rolled(rag, pods, 3))
        assert "RAG_LANGUAGE" not in await _environment(rag)


async def test_what_answers_outlives_settings_that_cannot_be(rag: RagCluster) -> None:
    async with rag.both(), EnginePods(rag, "machine").at_work() as pods:
        await rag.config_map("settings", RAG_CHUNK_TOKENS="256")
        await rag.create_engine(compute=None, annotations=SETTINGS)
        await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess")
        await _set(rag, RAG_CHUNK_TOKENS="many")
        words = "'many' does not fit; set it to a whole number of at least 32"
        await rag.told("RAGEngineSucceeded", "False", "ragengineFailed", words)
        await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess", words)
        await rag.client.delete(CONFIG_MAPS, "settings", namespace=rag.namespace)
        await rag.told("RAGEngineSucceeded", "False", "ragengineFailed", "there is no ConfigMap")
        assert (await _environment(rag))["RAG_CHUNK_TOKENS"] == {"value": "256"}
        assert (len(pods.made), pods.unserved) == (1, 0)


async def test_an_object_store_alone_is_read_once_the_pod_before_has_ended(
    rag: RagCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workspace_controller.ragengine.references._AGAIN_SECONDS", 0.3)
    async with rag.both() as process, EnginePods(rag, "machine").at_work() as pods:
        await rag.create_engine(compute=None, annotations=STORE)
        await rag.told("ServiceReady", "False", "SecretNotFound", "AWS_ACCESS_KEY_ID=…")
        await rag.secret("bucket", AWS_REGIN="eu-west-1", **KEYS)
        words = 'Secret "bucket" has AWS_REGIN'
        await rag.told("ServiceReady", "False", "InvalidObjectStoreSecret", words)
        assert await rag.deployment() is None

        await rag.client.delete(SECRETS, "bucket", namespace=rag.namespace)
        await rag.secret("bucket", **KEYS)
        await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess")
        found = await _environment(rag)
        place = f"s3://bucket/prefix/{rag.namespace}/docs"
        assert found["RAG_OBJECT_STORE_URL"] == {"value": place}
        reference = {"name": "bucket", "key": "AWS_SECRET_ACCESS_KEY", "optional": True}
        assert found["AWS_SECRET_ACCESS_KEY"] == {"valueFrom": {"secretKeyRef": reference}}
        assert (await _strategy(rag))["type"] == "Recreate"

        pods.ends = False
        service = {"url": "http://llm.example/v1", "contextWindowSize": 4096}
        await rag.edit_engine({"spec": {"inferenceService": service}})
        words = "it is replaced in place, since the object store has all indexes only once"
        await rag.told("ServiceReady", "False", "RAGEngineServicePending", words)
        assert len(pods.made) == 1, "the one before still uploads"
        pods.ends = True
        await eventually(lambda: _rolled(rag, pods, 2))
        assert ("Warning", "ServiceGap") in process.events.told


async def test_a_volume_beside_the_object_store_spares_the_gap(rag: RagCluster) -> None:
    """And the API server takes the one strategy in place of the other."""
    kept = {"persistentVolume": {"persistentVolumeClaim": "indexes"}}
    await rag.volume_claim()
    await rag.secret("bucket", **KEYS)
    async with rag.both(), EnginePods(rag, "machine").at_work() as pods:
        await rag.create_engine(compute=None, annotations=STORE)
        await rag.told("ServiceReady", "True", "RAGEngineServiceSuccess")
        for number, storage, strategy in ((2, kept, "RollingUpdate"), (3, None, "Recreate")):
            await rag.edit_engine({"spec": {"storage": storage}})
            await eventually(lambda number=number: _rolled(rag, pods, number))
            found = await _strategy(rag)
            assert found["type"] == strategy
            assert ("rollingUpdate" in found) == (strategy == "RollingUpdate")
            assert (pods.unserved == 0) == (strategy == "RollingUpdate")


async def _set(rag: RagCluster, **data: str | None) -> None:
    patch = {"data": data}
    await rag.client.patch(CONFIG_MAPS, "settings", patch, namespace=rag.namespace)


async def _deployment(rag: RagCluster) -> Unstructured:
    found = await rag.deployment()
    assert found is not None
    return found


async def _strategy(rag: RagCluster) -> Manifest:
    found: Manifest = (await _deployment(rag)).spec["strategy"]
    return found


async def _environment(rag: RagCluster) -> dict[str, Any]:
    """By name, what it comes from."""
    (container,) = (await _deployment(rag)).spec["template"]["spec"]["containers"]
    return {each.pop("name"): each for each in map(dict, container["env"])}


async def _rolled(rag: RagCluster, pods: EnginePods, number: int) -> bool:
    """Whether the last of so many pods is alone, and ready."""
    there = await rag.engine_pods()
    ready = (await rag.engine()).condition("ServiceReady").status == "True"
    return len(pods.made) == number and len(there) == 1 and ready
