"""GKE keeps every rule."""

from __future__ import annotations

from tests.conformance.cloudprovider.gcp_world import GcpWorld
from tests.conformance.cloudprovider.suite import CloudProviderConformance


class TestGcp(CloudProviderConformance):
    world_class = GcpWorld
