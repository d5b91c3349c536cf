"""Reads what the cloud announces, for as long as this process leads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable

from cloudproviders.provider import CloudProvider, Interruption
from gpu_provisioner import metrics
from gpu_provisioner.node.interruption import Notices, acknowledge
from kube.clock import Clock
from kube.errors import PlainError
from kube.meta import Key
from kube.transport import NETWORK_ERRORS, backoff

logger = logging.getLogger(__name__)

RETRY = (1.0, 60.0)
"""First and longest pause after a stream of notices broke, seconds."""

# Errors that say themselves what is wrong; of others the stack is wanted.
_PLAIN = (PlainError, *NETWORK_ERRORS)


class NoticeReader:
    """Hands each notice on and never waits for it to be carried out: a hundred machines may be
    taken back in the same second. `wake` is told which claims have something to do."""

    name = "interruption.reader"

    def __init__(
        self,
        cloud: CloudProvider,
        notices: Notices,
        wake: Callable[[Iterable[Key]], None],
        clock: Clock,
    ) -> None:
        self._cloud = cloud
        self._notices = notices
        self._wake = wake
        self._clock = clock
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`; a cloud that has no notices to give is not asked twice."""
        reading = asyncio.create_task(self._read(), name=self.name)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            await stopping
        finally:
            for task in (reading, stopping):
                task.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)

    def stop(self) -> None:
        self._stopping.set()

    async def _read(self) -> None:
        failures = 0
        while True:
            came = 0
            stream = self._cloud.interruptions()
            try:
                async for notice in stream:
                    came += 1
                    await self._take(notice)
            except Exception as error:
                plain = isinstance(error, _PLAIN)
                logger.error("no notices from the cloud: %r", error, exc_info=not plain)
            else:
                if not came:
                    return  # the cloud has none to give
            finally:
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
            failures = 0 if came else failures + 1
            await self._clock.sleep(backoff(failures, *RETRY))

    async def _take(self, notice: Interruption) -> None:
        metrics.INTERRUPTIONS_RECEIVED.labels(notice.kind).inc()
        if concerned := self._notices.take(notice):
            self._wake(concerned)
        else:
            await acknowledge(notice, self._clock.now())  # somebody else's machine
