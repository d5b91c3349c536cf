"""The rules that every cloud keeps, as tests; docs/contracts/cloudprovider.md numbers them.

A cloud's own module is no more than

    class TestAzure(CloudProviderConformance):
        world_class = AzureWorld

and whatever its provider promises beyond.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from tests.conformance.cloudprovider.faults import Faults
from tests.conformance.cloudprovider.identity import Identity
from tests.conformance.cloudprovider.launch import Launch
from tests.conformance.cloudprovider.refusals import Refusals
from tests.conformance.cloudprovider.world import World


class CloudProviderConformance(Launch, Identity, Refusals, Faults):
    """All rules. Subclasses name their world."""

    world_class: ClassVar[type[World]]

    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        async with self.world_class() as world:
            yield world
