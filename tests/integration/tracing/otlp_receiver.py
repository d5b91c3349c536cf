"""A collector on loopback: takes OTLP over HTTP as the real ones do, and keeps the spans."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Received:
    """A span, its ids in hexadecimal."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    start: datetime
    end: datetime
    failed: bool
    attributes: dict[str, str]


@dataclass
class Collector:
    """`async with Collector() as collector`"""

    spans: list[Received] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/v1/traces", self._take)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def until(self, *names: str, trace: str = "", root: str = "") -> list[Received]:
        """All spans, once there are some with these names, and no parent is missing but `root`,
        which is elsewhere: both controllers send when they like."""
        async with asyncio.timeout(30):
            while True:
                found = [span for span in self.spans if trace in ("", span.trace)]
                known = {span.id for span in found} | {"", root}
                parents = {span.parent for span in found}
                if set(names) <= {span.name for span in found} and parents <= known:
                    return found
                await asyncio.sleep(0.05)

    async def _take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        self.headers.append(dict(request.headers))
        batch = ExportTraceServiceRequest.FromString(await request.read())
        for resource in batch.resource_spans:
            service = _texts(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Received(
                            service,
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            datetime.fromtimestamp(span.start_time_unix_nano / 1e9, UTC),
                            datetime.fromtimestamp(span.end_time_unix_nano / 1e9, UTC),
                            span.status.code == Status.STATUS_CODE_ERROR,
                            _texts(span.attributes),
                        )
                    )
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")


def _texts(attributes) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}
