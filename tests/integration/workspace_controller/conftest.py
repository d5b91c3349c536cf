"""The workspace controller on a real API server, in a namespace of each test's own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import yaml
from ragengine_cluster import RagCluster
from workspace_cluster import NAMESPACES, SERVICE_ACCOUNTS, Cluster, eventually

import apis
from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.objects import CUSTOM_RESOURCE_DEFINITIONS
from workspace_controller import nodeclasses
from workspace_controller.manifests.nodepool import POOLS

_SERIAL = itertools.count(1)


@pytest.fixture(scope="session")
def installed(kubeconfig: Path) -> Path:
    """The kubeconfig of an API server that knows our kinds."""
    asyncio.run(_install(kubeconfig))
    return kubeconfig


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Node classes are made as soon as their kind is known to be served."""
    monkeypatch.setattr(nodeclasses, "_RETRY_SECONDS", 0.2)


@pytest.fixture
def install() -> Callable[[Path], Awaitable[None]]:
    """Teaches another API server our kinds."""
    return _install


@pytest.fixture
async def rag(installed: Path) -> AsyncIterator[RagCluster]:
    """As `cluster`, for RAGEngines beside Workspaces."""
    endpoint = config.kubeconfig(str(installed))
    kinds = (WORKSPACES, RAG_ENGINES, NODE_CLAIMS, NAMESPACES, SERVICE_ACCOUNTS, POOLS)
    async with Client(endpoint, field_manager="tests", kinds=kinds) as client:
        name = f"rag-{next(_SERIAL)}"
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster = RagCluster(installed, client, name)
        yield cluster
        await cluster.clean_up()


@pytest.fixture
async def cluster(installed: Path) -> AsyncIterator[Cluster]:
    """An empty namespace, and none of its Workspaces left behind."""
    endpoint = config.kubeconfig(str(installed))
    kinds = (WORKSPACES, NODE_CLAIMS, NAMESPACES, SERVICE_ACCOUNTS, POOLS)
    async with Client(endpoint, field_manager="tests", kinds=kinds) as client:
        name = f"workspace-{next(_SERIAL)}"
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster = Cluster(installed, client, name)
        yield cluster
        await cluster.clean_up()


async def _install(kubeconfig: Path) -> None:
    folder = Path(apis.__file__).parent / "crds"
    endpoint = config.kubeconfig(str(kubeconfig))
    async with Client(endpoint, field_manager="tests") as client:
        names = []
        for file in sorted(folder.glob("*.yaml")):
            manifest = yaml.safe_load(file.read_text())
            await client.apply(manifest)
            names.append(manifest["metadata"]["name"])
        for name in names:
            await eventually(lambda name=name: _established(client, name))


async def _established(client: Client, name: str) -> bool:
    found = await client.get(CUSTOM_RESOURCE_DEFINITIONS, name)
    conditions = (found.status.get("conditions") if found else None) or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
