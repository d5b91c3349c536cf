"""Manifests written for KAITO 0.1 to 0.12, unchanged, through CRD and webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from webhooks_at_work import webhooks
from workspace_cluster import Cluster
from workspace_crd import altered, untyped

from apis.kaito.v1alpha1.workspace import WORKSPACES_V1ALPHA1
from apis.kaito.v1beta1.workspace import WORKSPACES
from kube import config
from kube.client import Client
from kube.errors import InvalidError
from kube.meta import Manifest, Resource
from kube.objects import CONFIG_MAPS, Node
from kube.store import Store
from tests import builders, old_manifests
from workspace_controller.webhooks import Admission

_OWN_NODES = (
    {"apps": "llm-inference"},
    {"apps": "llm-inference"},
    {"kaito.sh/mig-enabled": "true"},
)


class _Whole(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What our models would complete is shown as it is stored."""

    api_version: str
    kind: str
    metadata: dict[str, Any]
    resource: dict[str, Any] = {}
    inference: dict[str, Any] = {}
    tuning: dict[str, Any] = {}


@pytest.fixture
async def user(installed: Path) -> AsyncIterator[Client]:
    """A user's hands, in both versions."""
    endpoint = config.kubeconfig(str(installed))
    kinds = (WORKSPACES, WORKSPACES_V1ALPHA1)
    async with Client(endpoint, field_manager="kubectl", kinds=kinds) as client:
        yield client


@pytest.fixture(params=["nodeclaim", "byo"])
async def provisioner(
    request: pytest.FixtureRequest, cluster: Cluster, user: Client, installed: Path
) -> AsyncIterator[str]:
    """An installation with CRD and webhooks as that provisioner has them."""
    async with AsyncExitStack() as stack:
        if request.param == "byo":
            seen = lambda: _has_no_type(cluster, user)  # noqa: E731
            await stack.enter_async_context(altered(installed, untyped, seen))
        await stack.enter_async_context(_webhooks(cluster, request.param))
        yield request.param


async def test_they_are_applied_unchanged(cluster: Cluster, user: Client, provisioner: str):
    files = [each for each in old_manifests.accepted() if _for(each, provisioner)]
    assert files
    for file in files:
        for manifest in _here(cluster, file):
            await user.apply(manifest)
            await user.apply(manifest)
            await _is_whole(cluster, manifest)


async def test_what_upstream_refuses_is_refused_in_words(
    cluster: Cluster, user: Client, provisioner: str
):
    files = [each for each in old_manifests.refused() if _for(each, provisioner)]
    assert files
    for file in files:
        (manifest,) = _here(cluster, file)
        with pytest.raises(InvalidError) as refused:
            await user.create(manifest)
        field, _, words = old_manifests.words(file).partition(": ")
        assert field in refused.value.message, file
        assert words in refused.value.message, file


async def test_the_old_version_takes_nothing_away(cluster: Cluster, user: Client, provisioner: str):
    """Read as v1alpha1, written back as it was read: upstream's loses what that version lacks."""
    await user.create(_everything(cluster, provisioner))
    before = await _stored(cluster, "whole")
    shown = await _stored(cluster, "whole", old=True)
    assert shown["apiVersion"] == "kaito.sh/v1alpha1"
    del shown["metadata"]["managedFields"]
    shown["metadata"]["annotations"] = {"written": "in the old version"}
    await user.patch(WORKSPACES_V1ALPHA1, "whole", shown, namespace=cluster.namespace)
    after = await _stored(cluster, "whole")
    assert after["metadata"]["annotations"] == {"written": "in the old version"}
    assert [after[part] for part in ("resource", "inference")] == [
        before[part] for part in ("resource", "inference")
    ]


async def _has_no_type(cluster: Cluster, user: Client) -> bool:
    """Whether the API server leaves the type of nodes in v1alpha1 to the user."""
    probe = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "probe", "namespace": cluster.namespace},
        "resource": {"labelSelector": {}},
        "inference": {"preset": {"name": "any"}},
    }
    await user.create(probe)
    stored = await _stored(cluster, "probe")
    await user.delete(WORKSPACES, "probe", namespace=cluster.namespace)
    return "instanceType" not in stored["resource"]


def _for(file: Path, provisioner: str) -> bool:
    return old_manifests.provisioner(file) == provisioner


def _here(cluster: Cluster, file: Path) -> list[Manifest]:
    """The file's objects as kubectl sends them: in a namespace, without what a server wrote."""
    return [
        {
            **{key: value for key, value in each.items() if key != "status"},
            "metadata": {**each["metadata"], "namespace": cluster.namespace},
        }
        for each in old_manifests.objects(file)
    ]


def _everything(cluster: Cluster, provisioner: str) -> Manifest:
    partition = {"partition": {"mode": "accelerator", "count": 1}}
    typed = {"instanceType": "Standard_NC96ads_A100_v4"}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "whole", "namespace": cluster.namespace},
        "resource": {
            "labelSelector": {"matchLabels": {"apps": "llm-inference"}},
            **(partition if provisioner == "byo" else typed),
        },
        "inference": {
            "preset": {
                "name": "phi-4-mini-instruct",
                "presetOptions": {"modelAccessSecret": "token"},
            },
            "adapters": [{"source": {"name": "a", "huggingFace": "owner/adapter"}}],
        },
    }


async def _is_whole(cluster: Cluster, given: Manifest) -> None:
    """Nothing that was written has been pruned."""
    if given["kind"] == "ConfigMap":
        found = await cluster.client.get(CONFIG_MAPS, given["metadata"]["name"], cluster.namespace)
        assert found is not None
        return
    stored = await _stored(cluster, given["metadata"]["name"])
    wanted = given.get("spec") or {key: given[key] for key in given if key in _PARTS}
    assert _within(wanted, stored), given["metadata"]["name"]


_PARTS = ("resource", "inference", "tuning")


def _within(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and _within(wanted[key], found[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(wanted, found, strict=False)
        return len(wanted) == len(found) and all(_within(one, other) for one, other in pairs)
    return bool(wanted == found)


async def _stored(cluster: Cluster, name: str, *, old: bool = False) -> Manifest:
    """The whole object as the API server has it, in either version."""
    version = "v1alpha1" if old else "v1beta1"
    resource = Resource("kaito.sh", version, "Workspace", "workspaces", _Whole)
    found = await cluster.client.get(resource, name, cluster.namespace)
    assert found is not None
    whole: Manifest = msgspec.to_builtins(found)
    return {key: value for key, value in whole.items() if value}


def _webhooks(cluster: Cluster, provisioner: str) -> AbstractAsyncContextManager[None]:
    nodes: Store[Node] = Store()
    for at, given in enumerate(_OWN_NODES, start=1):
        nodes.put(_own_node(f"gpu-node-{at}", given))
    judge = Admission(old_manifests.facts(provisioner), cluster.client, nodes)
    return webhooks(cluster, judge, "workspaces", lambda: _is_asked(cluster))


def _own_node(name: str, labels: dict[str, str]) -> Node:
    node = builders.a_gpu_node(name)
    metadata = msgspec.structs.replace(node.metadata, labels={**node.metadata.labels, **labels})
    return msgspec.structs.replace(node, metadata=metadata)


async def _is_asked(cluster: Cluster) -> bool:
    """Whether the API server knows of both: the early form is lifted, and an odd name refused."""
    probe = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "probe", "namespace": cluster.namespace},
        "spec": {"resource": {"labelSelector": {}}, "inference": {"preset": {"name": "odd"}}},
    }
    try:
        await cluster.client.create(probe)
    except InvalidError as error:
        return "is no preset" in error.message
    return False
