"""Compute Engine's own look-ups, over REST: which zones sell a machine type, and reservations.

They are advice: without them every zone is tried. google-cloud-compute does the same at the price
of a hundred megabytes, and blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp

from cloudproviders.gcp.errors import GoogleError
from cloudproviders.gcp.sdk import Bearer
from cloudproviders.gcp.settings import GcpSettings

TIMEOUT = aiohttp.ClientTimeout(total=20)
PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Machines that are paid for. `free` is how many nobody uses."""

    name: str
    zone: str
    machine_type: str
    free: int


class Compute:
    """The part of compute/v1 in use. Raises GoogleError."""

    def __init__(self, settings: GcpSettings, bearer: Bearer) -> None:
        self._root = f"{settings.compute_endpoint}/compute/v1/projects/{settings.project}"
        self._bearer = bearer
        self._opened: aiohttp.ClientSession | None = None

    async def machine_types(self, zone: str) -> frozenset[str]:
        """Names of all that the zone sells."""
        items = await self._items(f"/zones/{zone}/machineTypes", "items/name,nextPageToken")
        return frozenset(item["name"] for item in items)

    async def reservations(self, zone: str) -> list[Reservation]:
        """Those of the zone that machines can be taken from now."""
        fields = "items(name,status,specificReservation),nextPageToken"
        items = await self._items(f"/zones/{zone}/reservations", fields)
        return [_reservation(zone, item) for item in items if item.get("status") == "READY"]

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def _items(self, path: str, fields: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = ""
        while True:
            answer = await self._get(path, {"fields": fields, "pageToken": page})
            found += answer.get("items", [])
            if not (page := answer.get("nextPageToken", "")):
                return found

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        token = await self._bearer()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        told = {key: value for key, value in query.items() if value}
        if self._opened is None:
            self._opened = aiohttp.ClientSession(timeout=TIMEOUT)
        try:
            async with self._opened.get(
                self._root + path, params={**told, "maxResults": str(PAGE)}, headers=headers
            ) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
                if response.status < 400:
                    return answer
                raise _error(response.status, answer)
        except (aiohttp.ClientError, TimeoutError, ValueError) as failed:
            told_by = f"compute: {type(failed).__name__}: {failed}"
            raise GoogleError("UNAVAILABLE", told_by) from failed


def _reservation(zone: str, item: dict[str, Any]) -> Reservation:
    specific = item.get("specificReservation", {})
    free = int(specific.get("count", 0)) - int(specific.get("inUseCount", 0))
    machine_type = specific.get("instanceProperties", {}).get("machineType", "")
    return Reservation(name=item["name"], zone=zone, machine_type=machine_type, free=free)


def _error(status: int, answer: dict[str, Any]) -> GoogleError:
    """google.rpc.Status as REST has it."""
    error = answer.get("error", {})
    named = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
    fallback = named.get(status, "UNAVAILABLE" if status >= 500 else "INVALID_ARGUMENT")
    return GoogleError(error.get("status") or fallback, error.get("message") or str(status))
