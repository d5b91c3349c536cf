"""Clusters: one with Karpenter in it and our chart's account, and one for our own provisioner."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

import apis
import cloudproviders
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.errors import AlreadyExistsError
from kube.meta import Manifest
from kube.objects import CUSTOM_RESOURCE_DEFINITIONS
from localcluster import paths
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane
from tests.conformance.charts import rendering
from tests.conformance.karpenter import karpenter_kwok
from tests.conformance.karpenter.hollow_kubelets import HollowKubelets
from tests.conformance.karpenter.karpenter_kwok import Karpenter
from tests.conformance.karpenter.kube_controllers import KubeControllers
from tests.conformance.karpenter.programs import eventually
from tests.conformance.karpenter.swapped import NAMESPACE, NODE_CLASSES, Swapped
from workspace_controller.manifests.nodepool import POOLS

_OURS = rendering.CHARTS / "karpenter-crds/files"


@pytest.fixture(scope="module")
def binaries() -> Binaries:
    return Binaries(paths.cache_directory(os.environ), paths.assets_directory(os.environ))


@pytest.fixture(scope="module")
def karpenter(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Karpenter]:
    """Karpenter's kinds as Karpenter ships them, and Karpenter."""
    kinds = [*karpenter_kwok.definitions(), *_read(Path(apis.__file__).parent / "crds", "kaito.sh")]
    with _cluster(tmp_path_factory.mktemp("karpenter"), binaries, kinds) as control_plane:
        found = Karpenter(control_plane.kubeconfig.parent, binaries, control_plane.kubeconfig)
        asyncio.run(_prepare(found.kubeconfig))
        found.start(cloudproviders.instance_types("kwok"))
        yield found
        found.stop()


@pytest.fixture(scope="module")
def plain(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a cluster with the kinds that our own charts bring, and no provisioner."""
    kinds = [*_read(_OURS / "crds"), *_read(_OURS / "nodeclasses")]
    with _cluster(tmp_path_factory.mktemp("plain"), binaries, kinds) as control_plane:
        yield control_plane.kubeconfig


@pytest.fixture
async def swapped(karpenter: Karpenter, tmp_path: Path) -> AsyncIterator[Swapped]:
    """The cluster while a test has it, with kubelets in it."""
    endpoint = config.kubeconfig(str(karpenter.kubeconfig))
    kinds = (WORKSPACES, NODE_CLAIMS, POOLS, NODE_CLASSES)
    async with Client(endpoint, field_manager="tests", kinds=kinds) as client:
        kubelets = asyncio.create_task(HollowKubelets(client).run())
        found = Swapped(karpenter, client, tmp_path, len(karpenter.log_lines()))
        yield found
        await found.clear()
        kubelets.cancel()
        await asyncio.wait([kubelets])
        if not kubelets.cancelled():
            kubelets.result()


@contextmanager
def _cluster(directory: Path, binaries: Binaries, kinds: list[Manifest]) -> Iterator[ControlPlane]:
    """An API server that knows these kinds, with Kubernetes' own controllers at work."""
    control_plane = ControlPlane(directory, binaries, with_parent=True)
    control_plane.start()
    asyncio.run(_install(control_plane.kubeconfig, kinds))
    controllers = KubeControllers(directory, binaries, control_plane.kubeconfig)
    controllers.start()
    yield control_plane
    controllers.stop()
    control_plane.stop()


def _read(folder: Path, prefix: str = "") -> list[Manifest]:
    return [yaml.safe_load(file.read_text()) for file in sorted(folder.glob(f"{prefix}*.yaml"))]


async def _install(kubeconfig: Path, kinds: list[Manifest]) -> None:
    """The kinds, and the namespace of our programs."""
    async with Client(config.kubeconfig(str(kubeconfig)), field_manager="tests") as client:
        for manifest in kinds:
            await client.apply(manifest)
        with suppress(AlreadyExistsError):
            await client.create(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            )
        for manifest in kinds:
            await eventually(lambda name=manifest["metadata"]["name"]: _served(client, name))


async def _served(client: Client, name: str) -> None:
    found = await client.get(CUSTOM_RESOURCE_DEFINITIONS, name)
    assert found is not None
    conditions: list[dict[str, Any]] = found.status.get("conditions") or []
    assert any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


async def _prepare(kubeconfig: Path) -> None:
    """The node class that standalone claims refer to is there before our chart is installed."""
    endpoint = config.kubeconfig(str(kubeconfig))
    node_class = {
        "apiVersion": NODE_CLASSES.api_version,
        "kind": NODE_CLASSES.kind,
        "metadata": {"name": "default"},
    }
    async with Client(endpoint, field_manager="tests", kinds=(NODE_CLASSES,)) as client:
        await client.apply(node_class)
