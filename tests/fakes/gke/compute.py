"""The two lists of compute/v1 that the provider reads, over REST on the loopback address."""

from __future__ import annotations

from collections import Counter
from typing import Any, Self

from aiohttp import web

import cloudproviders
from tests.fakes.gke.server import HOST

ROOT = "/compute/v1/projects/{project}/zones/{zone}"


class ComputeServer:
    """`sold` are the machine types of a zone; a zone that is not in it sells all of the catalogue.

    `refusal` is answered to every call: HTTP status, google.rpc.Code and message.
    """

    def __init__(self) -> None:
        self.sold: dict[str, set[str]] = {}
        self.reservations: dict[str, list[dict[str, Any]]] = {}
        self.refusal: tuple[int, str, str] | None = None
        self.counts: Counter[str] = Counter()
        self.tokens: set[str] | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def reserve(self, name: str, zone: str, machine_type: str, count: int, used: int = 0) -> None:
        """Machines that are paid for."""
        self.reservations.setdefault(zone, []).append(
            {
                "name": name,
                "status": "READY",
                "specificReservation": {
                    "count": str(count),
                    "inUseCount": str(used),
                    "instanceProperties": {"machineType": machine_type},
                },
            }
        )

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get(f"{ROOT}/machineTypes", self._machine_types)
        app.router.add_get(f"{ROOT}/reservations", self._reservations)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _machine_types(self, request: web.Request) -> web.Response:
        zone = request.match_info["zone"]
        sold = self.sold.get(zone, set(cloudproviders.instance_types("gcp")))
        return self._answer("machineTypes", request, [{"name": name} for name in sorted(sold)])

    async def _reservations(self, request: web.Request) -> web.Response:
        zone = request.match_info["zone"]
        return self._answer("reservations", request, self.reservations.get(zone, []))

    def _answer(self, what: str, request: web.Request, items: list[Any]) -> web.Response:
        self.counts[what] += 1
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        refusal = self.refusal
        if self.tokens is not None and shown not in self.tokens:
            refusal = (401, "UNAUTHENTICATED", "Request had invalid credentials.")
        if refusal is not None:
            status, code, message = refusal
            return web.json_response(
                {"error": {"code": status, "status": code, "message": message}}, status=status
            )
        start = int(request.query.get("pageToken", "0"))
        size = min(int(request.query.get("maxResults", "500")), 10)  # so that there are pages
        page: dict[str, Any] = {"items": items[start : start + size]}
        if start + size < len(items):
            page["nextPageToken"] = str(start + size)
        return web.json_response(page)
