"""kwok keeps the contract."""

from __future__ import annotations

from tests.conformance.cloudprovider.kwok_world import KwokWorld
from tests.conformance.cloudprovider.suite import CloudProviderConformance


class TestKwok(CloudProviderConformance):
    world_class = KwokWorld
