"""The control plane alone: real, restartable, and gone when stopped."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane
from localcluster.processes import StartError

pytestmark = pytest.mark.integration


def _kubectl(binaries: Binaries, kubeconfig: Path, *arguments: str) -> str:
    command = [str(binaries.path("kubectl")), "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_administrator_may_do_everything(binaries: Binaries, kubeconfig: Path) -> None:
    assert _kubectl(binaries, kubeconfig, "auth", "can-i", "*", "*").strip() == "yes"


def test_the_server_tells_the_version_of_its_module(binaries: Binaries, kubeconfig: Path) -> None:
    assert '"gitVersion": "v1.' in _kubectl(binaries, kubeconfig, "get", "--raw", "/version")


def test_data_survives_a_restart_at_the_same_address(binaries: Binaries, tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path, binaries, with_parent=True)
    plane.start()
    try:
        before = plane.server
        _kubectl(binaries, plane.kubeconfig, "create", "namespace", "kept")
        plane.stop()
        assert not plane.running
        plane.start()
        assert plane.server == before
        found = _kubectl(binaries, plane.kubeconfig, "get", "namespace", "kept", "-o", "name")
        assert found.strip() == "namespace/kept"
    finally:
        plane.stop()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(
    binaries: Binaries, api_server: ControlPlane, tmp_path: Path
) -> None:
    taken = int(api_server.server.rpartition(":")[2])
    plane = ControlPlane(tmp_path, binaries, secure_port=taken, with_parent=True)
    try:
        with pytest.raises(StartError, match="address already in use"):
            plane.start()
    finally:
        plane.stop()
