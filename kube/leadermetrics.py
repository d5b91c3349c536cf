"""Metrics that only the process which leads may tell.

Gauges over the whole cluster are the same in every replica: told by two, a sum over them doubles.
Karpenter's and KAITO's are told by the leader alone as well, where they come out of controllers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from kube.metrics import REGISTRY


class WhileLeading(Collector):
    """Collectors that answer between `run` and its end; a manager runs it among the controllers."""

    name = "metrics"

    def __init__(
        self, collectors: Iterable[Collector], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._collectors = tuple(collectors)
        self._registry = registry
        self._stopped = asyncio.Event()
        self.leading = False

    async def run(self) -> None:
        """Until `stop`, or until the term is over."""
        self._registry.register(self)
        self.leading = True
        try:
            await self._stopped.wait()
        finally:
            self.leading = False
            self._registry.unregister(self)

    def stop(self) -> None:
        self._stopped.set()

    def collect(self) -> Iterator[Metric]:
        for collector in self._collectors:
            yield from collector.collect()

    def describe(self) -> Iterable[Metric]:
        """None: or the registry would ask for all of them when it is told of this one."""
        return ()
