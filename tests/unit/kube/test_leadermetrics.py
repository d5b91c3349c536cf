"""Metrics that the leader alone tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kube.leadermetrics import WhileLeading


class Seven(Collector):
    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("seven", "7", value=7)


async def test_gauges_are_told_while_it_leads_and_again_in_its_next_term() -> None:
    registry = CollectorRegistry(auto_describe=True)
    told = WhileLeading((Seven(),), registry)
    for _ in range(2):
        assert registry.get_sample_value("seven") is None
        term = asyncio.create_task(told.run())
        await asyncio.sleep(0)
        assert (registry.get_sample_value("seven"), told.leading) == (7, True)
        term.cancel()  # the lease is lost
        await asyncio.gather(term, return_exceptions=True)
        assert not told.leading


async def test_it_ends_when_told() -> None:
    told = WhileLeading((Seven(),), CollectorRegistry(auto_describe=True))
    term = asyncio.create_task(told.run())
    await asyncio.sleep(0)
    told.stop()
    await asyncio.wait_for(term, 1)
