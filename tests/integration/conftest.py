"""A real kube-apiserver with etcd, one for the whole test session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube import config
from kube.client import Client
from kube.errors import NotFoundError
from kube.objects import NODES
from localcluster import paths
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane


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
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a module leaves on the API server that all share, a later one's controllers would take
    for their business: it fails, and not the later one."""
    yield
    if shared := request.session.stash.get(_SHARED, None):
        assert asyncio.run(_left(shared)) == []


_SHARED: pytest.StashKey[Path] = pytest.StashKey()
_OURS = (WORKSPACES, RAG_ENGINES, NODE_CLAIMS, NODE_POOLS, NODES)


async def _left(kubeconfig: Path) -> list[str]:
    """Kinds and names; a kind that the server does not know yet has none."""
    left = []
    endpoint = config.kubeconfig(str(kubeconfig))
    async with Client(endpoint, field_manager="tests", kinds=_OURS) as client:
        for kind in _OURS:
            try:
                found = await client.list(kind)
            except NotFoundError:
                continue
            left += [f"{kind.kind} {each.metadata.name}" for each in found.items]
    return left
