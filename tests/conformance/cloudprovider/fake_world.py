"""The cloud that tests of the provisioner run on: it has to be like the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from cloudproviders.provider import CloudProvider
from tests.conformance.cloudprovider.world import Machine, World
from tests.fakes.cloud import FakeCloud


class FakeWorld(World):
    """It is the cloud and the provider at once, so it outlives every restart."""

    types = ("fake-gpu-1", "fake-gpu-2")

    async def __aenter__(self) -> FakeWorld:
        self._cloud = FakeCloud(self.clock, lingers=True)
        self.provider = self._cloud
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._cloud.close()

    async def restart(self) -> CloudProvider:
        return self._cloud

    async def another(self) -> CloudProvider:
        return self._cloud

    async def machines(self) -> Sequence[Machine]:
        return [Machine(each.name, each.claim_uid) for each in self._cloud.instances.values()]

    async def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._cloud.finish_terminating()
