"""The local cluster keeps the contract."""

from __future__ import annotations

from tests.conformance.cloudprovider.local_world import LocalWorld
from tests.conformance.cloudprovider.suite import CloudProviderConformance


class TestLocal(CloudProviderConformance):
    world_class = LocalWorld
