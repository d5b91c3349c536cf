"""A Service in front of two replicas, as kube-proxy makes one: it passes connections on, and knows
nothing of requests. It is told of its endpoints by readiness, and always a moment late."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from programs import Program

LAG_SECONDS = 1.5
"""From what a replica says of itself to what connections do: probe, EndpointSlice, rules."""
_LOOK_SECONDS = 0.1


class Service:
    """Where the API server finds the webhooks."""

    def __init__(self) -> None:
        self.port = 0
        self.replicas: list[Program] = []
        self.passed: dict[str, int] = {}
        """Connections that each replica got."""
        self._endpoints: list[Program] = []
        self._turn = itertools.count()
        self._connections: set[asyncio.Task[None]] = set()

    async def wait_for(self, *replicas: Program) -> None:
        """Until connections go to just these."""
        while set(self._endpoints) != set(replicas):
            await asyncio.sleep(_LOOK_SECONDS)

    async def follow(self) -> None:
        """Keep the endpoints. Those of a replica that has ended go no sooner than others."""
        while True:
            seen = [
                each
                for each in self.replicas
                if each.process.returncode is None and await self._is_ready(each)
            ]
            if seen != self._endpoints:
                asyncio.get_running_loop().call_later(LAG_SECONDS, self._set, seen)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _is_ready(self, replica: Program) -> bool:
        try:
            return await replica.ready()
        except AssertionError:
            return False  # it has ended meanwhile

    def _set(self, seen: list[Program]) -> None:
        self._endpoints = seen

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if not self._endpoints:
                return
            replica = self._endpoints[next(self._turn) % len(self._endpoints)]
            self.passed[replica.name] = self.passed.get(replica.name, 0) + 1
            there, back = await asyncio.open_connection("127.0.0.1", replica.webhook_port)
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        except OSError:
            return  # refused, or broken off: the client is told by the end of its connection
        finally:
            self._connections.discard(task)
            writer.close()

    async def close(self) -> None:
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        with suppress(OSError):
            sink.close()


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    made = Service()
    server = await asyncio.start_server(made.connect, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    following = asyncio.create_task(made.follow())
    try:
        yield made
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        server.close()
        await made.close()
        await server.wait_closed()
