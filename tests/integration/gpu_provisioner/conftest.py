"""Marks what is here, and gives each test an empty cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.gpu_provisioner.world import Cluster


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    found = Cluster(kubeconfig)
    await found.install()
    await found.empty()
    yield found
    await found.empty()
    await found.client.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
