"""An emulated GKE cluster, and a provider over it that goes by the same clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import tests.conformance.cloudprovider.conftest  # noqa: F401  before the modules that it prepares
from tests.conformance.cloudprovider.gcp_world import GcpWorld


@pytest.fixture
async def world() -> AsyncIterator[GcpWorld]:
    async with GcpWorld() as world:
        yield world
