"""Azure Resource Manager on the loopback address, for the vendor's own SDKs: TLS, tokens, faults.

What a resource provider does is a `Service` (`aks.Aks`, …); this is what all of them share.
"""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec
from aiohttp import web

from kube import certificates
from kube.clock import Clock
from tests.fakes.arm.operations import Operations
from tests.fakes.arm.tokens import Tokens
from tests.fakes.arm.wire import Answer, Call, Refusal, Route

HOST = "127.0.0.1"


@dataclass
class Fault:
    """Befalls the next `times` calls that match: late, refused, or never answered.

    `lost`: "before" its effect or "after" it the connection is cut.
    """

    matches: Callable[[Call], bool] = lambda call: True
    times: float = 1
    delay: float = 0.0
    refusal: Refusal | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """That the refusal goes with."""
    lost: str = ""


class Service(Protocol):
    """A resource provider: what ARM knows of managed clusters, say."""

    def routes(self, operations: Operations) -> Iterable[Route]:
        """Asked for once, when the server starts."""
        ...


@dataclass
class _Address:
    url: str = ""
    ca_file: Path = field(default_factory=Path)


class ArmServer:
    """`async with ArmServer(Aks()) as arm: …`; the SDK wants `arm.url` and trust in `arm.ca_file`.

    Every call is kept in `calls` and counted in `counts` by method and route.
    """

    def __init__(self, *services: Service, port: int = 0, clock: Clock | None = None) -> None:
        self.calls: list[Call] = []
        self.counts: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self._clock = clock or Clock()
        self.tokens = Tokens(self._clock)
        self.operations = Operations(self._clock)
        self._services = services
        self._port = port
        self._runner: web.AppRunner | None = None
        self._address = _Address()
        self._scratch = contextlib.ExitStack()

    @property
    def url(self) -> str:
        return self._address.url

    @property
    def ca_file(self) -> Path:
        """The authority that signed the server's certificate, PEM."""
        return self._address.ca_file

    def fault(self, **given: Any) -> Fault:
        """Add one; the first that matches a call befalls it."""
        self.faults.append(Fault(**given))
        return self.faults[-1]

    def throttle(self, seconds: float, times: float = 1, counted: str = "") -> Fault:
        """429 with Retry-After for the next calls, of one kind (`PUT agentPool`) or of any."""
        refusal = Refusal(429, "TooManyRequests", "slow down", retry_after=seconds)
        return self.fault(
            matches=lambda call: counted in {"", call.counted}, times=times, refusal=refusal
        )

    def lose(self, counted: str, when: str = "after", times: float = 1) -> Fault:
        """The next such call is done, but its answer never arrives (or it is not even done)."""
        return self.fault(matches=lambda call: call.counted == counted, times=times, lost=when)

    async def start(self) -> None:
        folder = Path(self._scratch.enter_context(tempfile.TemporaryDirectory(prefix="arm-")))
        app = web.Application()
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self.tokens.sell)
        for service in self._services:
            for route in service.routes(self.operations):
                app.router.add_route(route.method, route.path, self._handler(route))
        for route in self.operations.routes():
            app.router.add_route(route.method, route.path, self._handler(route))
        app.router.add_route("*", "/{tail:.*}", _not_found)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port, ssl_context=_tls(folder))
        await site.start()
        port = self._runner.addresses[0][1]
        self._address = _Address(f"https://{HOST}:{port}", folder / "ca.pem")

    async def stop(self) -> None:
        """Operations that are under way end where they are."""
        await self.operations.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._scratch.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = Call(
                route.method,
                route.name,
                dict(request.match_info),
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                await request.json() if request.can_read_body else {},
                self._clock.monotonic(),
            )
            self.calls.append(call)
            self.counts[call.counted] += 1
            try:
                self.tokens.check(call.headers.get("authorization", ""))
                return await self._answered(request, call, route)
            except Refusal as refusal:
                return _response(refusal.answer)

        return handle

    async def _answered(self, request: web.Request, call: Call, route: Route) -> web.StreamResponse:
        fault = self._fault_for(call)
        if fault is None:
            return _response(await route.handle(call))
        await self._clock.sleep(fault.delay)
        if fault.lost:
            return await self._lost(request, call, route, done=fault.lost == "after")
        if fault.refusal is not None:
            answer = fault.refusal.answer
            return _response(answer._replace(headers={**answer.headers, **fault.headers}))
        return _response(await route.handle(call))

    async def _lost(
        self, request: web.Request, call: Call, route: Route, *, done: bool
    ) -> web.StreamResponse:
        """The connection ends without a word, be it a good one or a refusal."""
        if done:
            with contextlib.suppress(Refusal):
                await route.handle(call)
        assert request.transport is not None
        request.transport.abort()
        return web.Response(status=500)

    def _fault_for(self, call: Call) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.matches(call):
                fault.times -= 1
                return fault
        return None


def _response(answer: Answer) -> web.Response:
    if answer.body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    return web.Response(
        status=answer.status,
        headers=answer.headers,
        body=msgspec.json.encode(answer.body),
        content_type="application/json",
    )


async def _not_found(request: web.Request) -> web.Response:
    message = f"nothing is served at {request.method} {request.path}"
    return _response(Refusal(404, "InvalidResourceType", message).answer)


def _tls(folder: Path) -> ssl.SSLContext:
    """A certificate of an authority of our own, which is left in the folder as ca.pem."""
    issued = certificates.renewed(None, [HOST, "localhost"], datetime.now(UTC))
    for name, content in {
        "ca.pem": issued.authorities,
        "chain.pem": issued.chain,
        "key.pem": issued.key,
    }.items():
        (folder / name).write_bytes(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    return context
