"""A real kube-apiserver with etcd, one for the whole test session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube import config
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Resource
from kube.objects import NODES
from localcluster import paths
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane
from tests.forgetting import forget


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """The programs, from where the environment says."""
    return Binaries(paths.cache_directory(os.environ), paths.assets_directory(os.environ))


@pytest.fixture(scope="session")
def api_server(
    binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A running API server on the loopback address; it ends with the session, however that ends."""
    control_plane = ControlPlane(
        tmp_path_factory.mktemp("control-plane"), binaries, with_parent=True
    )
    control_plane.start()
    yield control_plane
    control_plane.stop()


@pytest.fixture(scope="session")
def kubeconfig(api_server: ControlPlane, request: pytest.FixtureRequest) -> Path:
    """The administrator's kubeconfig for that API server."""
    request.session.stash[_SHARED] = api_server.kubeconfig
    return api_server.kubeconfig


@pytest.fixture(scope="module", autouse=True)
def _takes_its_objects_along(request: pytest.FixtureRequest) -> Iterator[None]:
    """On the API server that all modules share, a later one's controllers would take them for
    their business, and count them."""
    yield
    if shared := request.session.stash.get(_SHARED, None):
        asyncio.run(_take_away(shared))


_SHARED: pytest.StashKey[Path] = pytest.StashKey()
_OURS = (WORKSPACES, RAG_ENGINES, NODE_POOLS, NODE_CLAIMS, NODES)


async def _take_away(kubeconfig: Path) -> None:
    endpoint = config.kubeconfig(str(kubeconfig))
    async with Client(endpoint, field_manager="tests", kinds=_OURS) as client:
        for kind in _OURS:
            for name, namespace in await _there(client, kind):
                await forget(client, kind, name, namespace)
            assert await _there(client, kind) == []


async def _there(client: Client, kind: Resource[Any]) -> list[tuple[str, str]]:
    """Names and namespaces; none of a kind that the server does not know yet."""
    try:
        found = await client.list(kind)
    except NotFoundError:
        return []
    return [(each.metadata.name, each.metadata.namespace) for each in found.items]
