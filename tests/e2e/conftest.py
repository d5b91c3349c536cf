"""The local cluster: real kubelets on this machine. Needs root; down when the tests are through."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from localcluster import paths, requirements
from localcluster.binaries import Binaries
from localcluster.cluster import Cluster, Settings
from localcluster.images import by_reference


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The default state directory: a machine has room for one cluster."""
    if missing := requirements.missing():
        pytest.skip("; ".join(str(item) for item in missing))
    cache = paths.cache_directory(os.environ)
    return Settings(cache, Binaries(cache, paths.assets_directory(os.environ)))


@pytest.fixture(scope="module")
def cluster(settings: Settings) -> Iterator[Cluster]:
    """Not up yet; down, and without a trace, when the module's tests are through."""
    cluster = Cluster(settings)
    try:
        yield cluster
    finally:
        cluster.down()
    assert cluster.leftovers() == []


@pytest.fixture(scope="module")
def local_cluster(cluster: Cluster) -> Cluster:
    """A cluster that is up, with the base image on every node."""
    cluster.up(by_reference([cluster.base_image()]))
    return cluster
