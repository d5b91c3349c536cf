"""A cluster that was upgraded without its CRDs, and does not know RAGEngines."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from ragengine_cluster import RagCluster
from workspace_cluster import NAMESPACES, SERVICE_ACCOUNTS, eventually

from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.objects import CUSTOM_RESOURCE_DEFINITIONS
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane

pytestmark = pytest.mark.integration

CRD = "ragengines.kaito.sh"
KINDS = (WORKSPACES, RAG_ENGINES, NODE_CLAIMS, NAMESPACES, SERVICE_ACCOUNTS)


@pytest.fixture
async def older(
    binaries: Binaries, tmp_path: Path, install: Callable[[Path], Awaitable[None]]
) -> AsyncIterator[RagCluster]:
    """A cluster of its own: a CRD is every test's, and takes all objects of its kind with it."""
    plane = ControlPlane(tmp_path, binaries, with_parent=True)
    plane.start()
    try:
        await install(plane.kubeconfig)
        endpoint = config.kubeconfig(str(plane.kubeconfig))
        async with Client(endpoint, field_manager="tests", kinds=KINDS) as client:
            await client.delete(CUSTOM_RESOURCE_DEFINITIONS, CRD)

            async def gone() -> bool:
                return await client.get(CUSTOM_RESOURCE_DEFINITIONS, CRD) is None

            await eventually(gone)
            yield RagCluster(plane.kubeconfig, client, "default")
    finally:
        plane.stop(grace_seconds=1)


async def test_workspaces_go_on_and_rag_engines_follow_their_crd(
    older: RagCluster,
    install: Callable[[Path], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "kube.informer"):
        async with older.both(retry=(0.1, 0.3)) as process:
            await older.create_workspace()
            await older.one_claim()
            await process.quiet()
            said = [each for each in caplog.messages if "ragengines are not served" in each]
            assert len(said) == 1
            await install(older.kubeconfig)
            await older.create_engine()
            await older.engine_claim()
            assert process.writes.count("create NodeClaim") == 2
