from collections.abc import AsyncIterator

import pytest

from kube.client import Client
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock, ImpatientClock


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as server:
        yield server


@pytest.fixture
def impatient() -> ImpatientClock:
    """For retries: delays pass at once, and are written down."""
    return ImpatientClock()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def client(server: FakeApiServer, impatient: ImpatientClock) -> AsyncIterator[Client]:
    async with Client(server.endpoint, field_manager="test", clock=impatient) as client:
        yield client
