"""A real kube-apiserver with etcd, one for the whole test session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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
def kubeconfig(api_server: ControlPlane) -> Path:
    """The administrator's kubeconfig for that API server."""
    return api_server.kubeconfig
