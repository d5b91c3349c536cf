"""AWS for tests: moto behind a server of ours that adds what moto lacks, and lets fate be scripted.

The real boto3 talks to it by its endpoint URL. Stock-outs and quotas in CreateFleet's answers,
client tokens, capacity reservations, EKS' images, node groups that take time; throttling, answers
that are lost, delays, expired credentials, and silence.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from kube.clock import Clock
from tests.fakes.aws import backend, nodegroups, stage, wire
from tests.fakes.aws.fleets import Fleets, Refusal, Reservation
from tests.fakes.aws.nodegroups import NodeGroups
from tests.fakes.aws.wire import Answer, Asked

_KEPT_HEADERS = ("content-type", "x-amzn-errortype", "x-amzn-query-error")

IMAGE = "ami-0000000000000nvid"
"""Of every EKS parameter whose name speaks of NVIDIA; other names have others."""


@dataclass
class Fault:
    """What becomes of the next requests of an action ("" is any)."""

    action: str
    times: int
    code: str = ""
    message: str = ""
    status: int = 400
    seconds: float = 0.0
    lost: bool = False
    """Done, but the answer never arrives."""


class Emulator:
    """An async context manager. One at a time in a process: entering it clears moto's memory."""

    def __init__(
        self, *, clock: Clock | None = None, port: int = 0, group_seconds: float = 0.0
    ) -> None:
        self._port = port
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.heard: Callable[[str, int], None] = lambda action, machines: None
        """Told of every request: its action, and how many machines it makes or ends."""
        self.fleets = Fleets(self._to_ec2)
        self.groups = NodeGroups(clock or Clock(), group_seconds)
        self._sweeping = asyncio.Lock()
        self.url = ""
        self.silent = False
        """Connections are cut before anything is done."""
        self.refused_keys = False
        """Credentials are not believed."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        async with self._session.post(f"{backend.address()}/moto-api/reset") as answer:
            answer.raise_for_status()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    # What tests say.

    def refuse(self, code: str, message: str = "", **matching: Any) -> None:
        """Launches that match: `instance_type`, `zone`, `capacity_type`, `times`."""
        self.fleets.refusals.append(Refusal(code, message or f"told as {code}", **matching))

    def relent(self) -> None:
        self.fleets.refusals.clear()
        self.groups.refusals.clear()

    def fail(
        self, action: str, code: str, message: str = "", *, status: int = 400, times: int = 1
    ) -> None:
        self.faults.append(Fault(action, times, code, message or f"told as {code}", status))

    def throttle(self, times: int) -> None:
        self.fail("", "RequestLimitExceeded", "Request limit exceeded.", status=503, times=times)

    def lose_answer(self, action: str, times: int = 1) -> None:
        self.faults.append(Fault(action, times, lost=True))

    def delay(self, action: str, seconds: float, times: int = 1) -> None:
        self.faults.append(Fault(action, times, seconds=seconds))

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self.silent = True
        try:
            yield
        finally:
            self.silent = False

    @asynccontextmanager
    async def expired(self) -> AsyncIterator[None]:
        self.refused_keys = True
        try:
            yield
        finally:
            self.refused_keys = False

    def reserve(self, id: str, instance_type: str, zone: str, **given: Any) -> Reservation:
        found = Reservation(id, instance_type, zone, **given)
        self.fleets.reservations.append(found)
        return found

    async def prepare(self, cluster: str) -> None:
        """An EKS cluster, its nodes' network, and nothing else."""
        await asyncio.to_thread(stage.prepare, cluster)

    async def machines(self) -> list[dict[str, Any]]:
        """EC2's instances as moto has them, not terminated; not a call."""
        return await asyncio.to_thread(stage.machines)

    async def send(self, queue: str, event: Mapping[str, Any] | str) -> None:
        """A message of EventBridge; the queue is made where there is none."""
        body = event if isinstance(event, str) else json.dumps(event)
        await asyncio.to_thread(stage.send, queue, body)

    def launched(self) -> Mapping[str, Any]:
        """By instance id: all that ever were, with what they boot from."""
        return self.fleets.launched

    # What boto3 hears.

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = wire.asked(request.method, request.path_qs, request.headers, await request.read())
        if self.silent:
            return self._cut(request)
        if self.refused_keys:
            code = "AuthFailure" if asked.service == "ec2" else "ExpiredTokenException"
            told = "AWS was not able to validate the provided access credentials"
            return _response(wire.refusal(asked.service, code, told, 401))
        fault = self._fault(asked.action)
        if fault is not None and fault.code:
            return _response(wire.refusal(asked.service, fault.code, fault.message, fault.status))
        if fault is not None and fault.seconds:
            await asyncio.sleep(fault.seconds)
        self.calls[asked.action] += 1
        self.heard(asked.action, _machines_of(asked))
        answer = await self._answer(asked, request)
        if fault is not None and fault.lost:
            return self._cut(request)
        return _response(answer)

    async def _answer(self, asked: Asked, request: web.Request) -> Answer:
        if asked.action == "CreateFleet":
            return await self.fleets.create(asked)
        if asked.action == "DescribeCapacityReservations":
            return self.fleets.describe_reservations(asked)
        if asked.action == "GetParameters":
            return _parameters(json.loads(asked.body)["Names"])
        if asked.action == "CreateLaunchTemplate":
            self.fleets.learn_template(asked)
        if asked.action.endswith(("Nodegroup", "Nodegroups")):
            return await self._node_group(asked, request)
        return await self._forward(request, asked.body)

    async def _node_group(self, asked: Asked, request: web.Request) -> Answer:
        async with self._sweeping:
            for over in self.groups.due():
                await asyncio.to_thread(stage.delete_group, over)
        name = nodegroups.name_of(asked, request.path_qs)
        if asked.action == "CreateNodegroup":
            return await self.groups.create(lambda: self._forward(request, asked.body))
        if asked.action == "DeleteNodegroup" and name in self.groups.plans:
            await self.groups.delete(name)
        if asked.action in {"DescribeNodegroup", "DeleteNodegroup"}:
            return await self.groups.describe(name, lambda: self._get(request))
        return await self._forward(request, asked.body)

    async def _get(self, request: web.Request) -> Answer:
        return await self._send("GET", request.path_qs, request.headers, b"")

    async def _forward(self, request: web.Request, body: bytes) -> Answer:
        return await self._send(request.method, request.path_qs, request.headers, body)

    async def _to_ec2(self, body: bytes) -> Answer:
        scope = f"Credential=stage/20260101/{backend.REGION}/ec2/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 {scope}",
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        }
        return await self._send("POST", "/", headers, body)

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        assert self._session is not None
        kept = {
            name: value
            for name, value in headers.items()
            if name.lower() not in {"content-length", "transfer-encoding", "expect"}
        }
        url = f"{backend.address()}{path}"
        async with self._session.request(method, url, data=body, headers=kept) as answer:
            told = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() in _KEPT_HEADERS
            }
            return Answer(answer.status, await answer.read(), told)

    def _fault(self, action: str) -> Fault | None:
        for fault in self.faults:
            if fault.action in {"", action}:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    def _cut(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)


def _machines_of(asked: Asked) -> int:
    if asked.action == "TerminateInstances":
        return sum(name.startswith("InstanceId.") for name in asked.form)
    return int(asked.action in {"CreateFleet", "CreateNodegroup", "DeleteNodegroup"})


def _response(answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    kind = headers.pop("Content-Type", "text/xml")
    return web.Response(
        status=answer.status, body=answer.body, headers={**headers, "Content-Type": kind}
    )


def _parameters(names: list[str]) -> Answer:
    """All images of EKS for any version; a parameter of another kind does not exist."""
    known = {name: image(name) for name in names if name.startswith("/aws/service/")}
    told = {
        "Parameters": [{"Name": name, "Value": id} for name, id in known.items()],
        "InvalidParameters": [name for name in names if name not in known],
    }
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return Answer(200, json.dumps(told).encode(), headers)


def image(parameter: str) -> str:
    """The image that a parameter names."""
    if "nvidia" in parameter and "x86_64" in parameter:
        return IMAGE
    return f"ami-{hashlib.sha256(parameter.encode()).hexdigest()[:17]}"
