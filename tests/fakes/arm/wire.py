"""Calls, answers and refusals of the emulated ARM."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kube.meta import Manifest


class Call(NamedTuple):
    """A request that has come in. `route` is the name of its route, `at` is monotonic seconds."""

    method: str
    route: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Manifest
    at: float

    @property
    def counted(self) -> str:
        """Under which name `ArmServer.counts` counts it: `PUT agentPool`."""
        return f"{self.method} {self.route}"


class Answer(NamedTuple):
    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


class Refusal(Exception):
    """An error answer. `flat`: as the resource provider of AKS writes it, without `error`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Iterable[Manifest] = (),
        retry_after: float | None = None,
        flat: bool = False,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = list(details)
        self.retry_after = retry_after
        self.flat = flat

    @property
    def answer(self) -> Answer:
        told = {"code": self.code, "message": self.message, "details": self.details or None}
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        return Answer(self.status, told if self.flat else {"error": told}, headers)


class Route(NamedTuple):
    method: str
    name: str
    path: str
    """As aiohttp has it; names in braces arrive in `Call.path`."""
    handle: Callable[[Call], Awaitable[Answer]]
