"""ARM's long-running operations: begun by a call, ended by time, told at Azure-AsyncOperation."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from kube.clock import Clock, Timer
from kube.meta import Manifest
from tests.fakes.arm.wire import Answer, Call, Refusal, Route

IN_PROGRESS, SUCCEEDED, FAILED, CANCELED = "InProgress", "Succeeded", "Failed", "Canceled"


@dataclass(eq=False)
class Operation:
    """`resource` is what is being worked at, in the words of its service. `retry_after` seconds
    are told to whoever polls, None: not a word, as AKS does it."""

    name: str
    resource: str
    verb: str
    provider: str
    subscription: str
    status: str = IN_PROGRESS
    error: Manifest | None = None
    retry_after: float | None = None
    _timer: Timer | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/providers/{self.provider}"
            f"/locations/emulator/operations/{self.name}"
        )

    def headers(self, call: Call) -> dict[str, str]:
        """What the call that begins an operation answers with."""
        url = f"https://{call.headers['host']}{self.path}?api-version=emulator"
        found = {"Azure-AsyncOperation": url, "Location": url}
        if self.retry_after is not None:
            found["Retry-After"] = f"{self.retry_after:g}"
        return found


class Operations:
    """Those under way and those that have ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: dict[str, Operation] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> list[Operation]:
        return [each for each in self._all.values() if each.status == IN_PROGRESS]

    def begin(
        self,
        resource: str,
        verb: str,
        seconds: float | None,
        finish: Callable[[], Awaitable[Manifest | None]],
        *,
        provider: str,
        subscription: str,
        retry_after: float | None = None,
    ) -> Operation:
        """`finish` is awaited in `seconds` (None: never); what it gives is the error, None where
        all went well."""
        operation = Operation(
            f"op-{next(self._numbers)}",
            resource,
            verb,
            provider,
            subscription,
            retry_after=retry_after,
        )
        self._all[operation.name] = operation

        async def run() -> None:
            error = await finish()
            if operation.status == IN_PROGRESS:
                operation.status, operation.error = (FAILED if error else SUCCEEDED), error

        def due() -> None:
            if operation.status == IN_PROGRESS:
                task = asyncio.get_running_loop().create_task(run())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        if seconds is not None:
            operation._timer = self._clock.call_later(seconds, due)
        return operation

    def cancel(self, operation: Operation) -> None:
        """It ends here; `finish` is never called."""
        operation.status = CANCELED
        if operation._timer is not None:
            operation._timer.cancel()

    def routes(self) -> Iterable[Route]:
        path = "/subscriptions/{subscription}/providers/{provider}/locations/{at}/operations/{name}"
        yield Route("GET", "operation", path, self._get)

    async def _get(self, call: Call) -> Answer:
        operation = self._all.get(call.path["name"])
        if operation is None:
            raise Refusal(404, "NotFound", "no such operation")
        told: Manifest = {"name": operation.name, "status": operation.status}
        if operation.error:
            told["error"] = operation.error
        headers = (
            {} if operation.retry_after is None else {"Retry-After": f"{operation.retry_after:g}"}
        )
        return Answer(200, told, headers)

    async def settle(self) -> None:
        """Until all that was due has been done."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        for operation in self.running:
            self.cancel(operation)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
