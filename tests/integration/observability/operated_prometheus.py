"""A Prometheus that scrapes the controllers as the Prometheus operator has its own do it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from watched_cluster import free_port, process

from localcluster.binaries import Binaries
from tests.conformance.charts.rendering import container, only, render


class Prometheus:
    """The real one, asked by its HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def over(self, query: str, seconds: float, step: float = 1.0) -> list[Any]:
        """The series of a query over the last seconds."""
        now = datetime.now(UTC).timestamp()
        asked = {"query": query, "start": now - seconds, "end": now, "step": step}
        return await self._ask("query_range", asked)

    async def now(self, query: str) -> list[Any]:
        return await self._ask("query", {"query": query})

    async def _ask(self, what: str, asked: Mapping[str, Any]) -> list[Any]:
        url = f"{self._url}/api/v1/{what}"
        async with aiohttp.ClientSession() as session, session.post(url, data=asked) as answer:
            body = await answer.json()
        assert body["status"] == "success", (asked["query"], body.get("error"))
        assert not body.get("warnings"), (asked["query"], body["warnings"])
        return list(body["data"]["result"])


@asynccontextmanager
async def prometheus(
    binaries: Binaries, folder: Path, jobs: Mapping[str, int]
) -> AsyncIterator[Prometheus]:
    """`jobs`: by chart, the port of its controller's metrics."""
    port = free_port()
    config = folder / "prometheus.yml"
    scraped = [_scrape(chart, at) for chart, at in jobs.items()]
    every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    config.write_text(yaml.safe_dump({"global": every, "scrape_configs": scraped}))
    command = [
        str(binaries.path("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    url = f"http://127.0.0.1:{port}"
    async with process(command, {}, f"{url}/-/ready", folder / "prometheus.log"):
        yield Prometheus(url)


def _scrape(chart: str, port: int) -> dict[str, Any]:
    """What the operator makes of the chart's ServiceMonitor: where the pod is found goes on each
    sample, `namespace` among it, which some of our samples have themselves."""
    objects = render(chart, {"cloudProviderName": "kwok", "serviceMonitor": {"enabled": True}})
    monitor, service = only(objects, "ServiceMonitor"), only(objects, "Service")
    (asked,) = monitor["spec"]["endpoints"]
    labels = {
        "namespace": service["metadata"]["namespace"],
        "service": service["metadata"]["name"],
        "pod": f"{chart}-0",
        "container": container(objects)["name"],
        "endpoint": asked["port"],
    }
    return {
        "job_name": chart,
        "metrics_path": asked["path"],
        "honor_labels": asked.get("honorLabels", False),
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
    }
