"""Control planes of these tests' own: webhooks, old CRDs and an audit log are nobody else's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane

Run = Callable[..., str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="module")
def plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An empty API server."""
    control_plane = ControlPlane(tmp_path_factory.mktemp("plane"), binaries, with_parent=True)
    control_plane.start()
    yield control_plane
    control_plane.stop()


@pytest.fixture(scope="session")
def runner(
    binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[ControlPlane], Run]:
    """kubectl and helm, as somebody runs them at that control plane."""
    home = str(tmp_path_factory.mktemp("home"))

    def at(plane: ControlPlane) -> Run:
        environment = os.environ | {"KUBECONFIG": str(plane.kubeconfig), "HOME": home}

        def run(name: str, *arguments: str, told: str = "") -> str:
            result = subprocess.run(
                [str(binaries.path(name)), *arguments],
                env=environment,
                input=told,
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, f"{arguments}: {result.stderr}"
            return result.stdout

        return run

    return at
