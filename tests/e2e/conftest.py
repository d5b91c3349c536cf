"""The local cluster: real kubelets on this machine. Needs root; down when the tests are through."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from localcluster import paths, requirements
from localcluster.binaries import Binaries
from localcluster.cluster import Cluster, Settings
from localcluster.images import by_reference
from tests.e2e import kept_logs, known_secrets, secrets_in_logs
from tests.e2e.kept_logs import KeptLogs, repeated
from tests.e2e.known_secrets import KnownSecrets


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The default state directory: a machine has room for one cluster."""
    if missing := requirements.missing():
        pytest.skip("; ".join(str(item) for item in missing))
    cache = paths.cache_directory(os.environ)
    return Settings(cache, Binaries(cache, paths.assets_directory(os.environ)))


@pytest.fixture(scope="module")
def logs(settings: Settings) -> Iterator[KeptLogs]:
    """All of the module's cluster, also those of pods and machines that are gone. None of them
    holds a secret, which is looked at when the cluster is down; where one does they stay."""
    cluster = Cluster(settings)
    folder = cluster.state.root.with_name(f"{cluster.state.root.name}.e2e-logs")
    shutil.rmtree(folder, ignore_errors=True)
    kept, secrets = KeptLogs(cluster.state, folder), KnownSecrets(cluster.state, cluster.kubectl)
    with (
        repeated(kept.look, kept_logs.LOOK_SECONDS),
        repeated(secrets.look, known_secrets.LOOK_SECONDS),
    ):
        yield kept
    texts = kept.texts()
    assert kept.lost == []
    ran_pods = any("/log-pods/" in name for name in texts)
    assert secrets.answered or not ran_pods, "the cluster never told its Secrets"
    secrets_in_logs.assert_none(texts, secrets.by_name)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(settings: Settings, logs: KeptLogs) -> Iterator[Cluster]:
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
