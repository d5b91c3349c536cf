"""What later commands know of the first one's options."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from localcluster.binaries import Binaries
from localcluster.cluster import Settings, network_of
from localcluster.network import Network
from localcluster.paths import State, cache_directory


def test_the_network_is_remembered(tmp_path: Path) -> None:
    chosen = replace(Network(), nodes=IPv4Network("10.99.0.0/16"), egress=True)
    settings = Settings(tmp_path, Binaries(tmp_path), tmp_path, chosen)
    State(tmp_path).shape.write_text(json.dumps(settings.shape))
    assert network_of(State(tmp_path)) == chosen


def test_without_a_cluster_the_defaults_hold(tmp_path: Path) -> None:
    assert network_of(State(tmp_path)) == Network()


def test_the_cache_is_chosen_by_the_environment() -> None:
    assert cache_directory({"KAITO_CACHE": "/a"}) == Path("/a")
    assert cache_directory({"XDG_CACHE_HOME": "/b"}) == Path("/b/kaito")
    assert cache_directory({}) == Path.home() / ".cache/kaito"
