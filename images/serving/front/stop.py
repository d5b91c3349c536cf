"""An orderly end: after SIGTERM nothing new is taken on, and what runs may end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from apis import container

SECONDS = float(container.DRAIN_SECONDS)
"""How long requests in work may go on; see also arguments._ENGINE_STOP_SECONDS and the pod's
terminationGracePeriodSeconds, which must be longer than both together."""


class Stop:
    """Whether the server ends, and when the last request has."""

    def __init__(self, seconds: float, end: Callable[[], None] | None = None) -> None:
        self.asked = False
        self._seconds = seconds
        self._end = end or _interrupt
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def take_over(self) -> None:
        """SIGTERM is ours from here on; the server keeps SIGINT, by which it is ended."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.ask)

    def ask(self) -> None:
        """Once is enough."""
        if not self.asked:
            self.asked = True
            print(f"stopping: {self._running} requests in work", flush=True)
            self._task = asyncio.get_running_loop().create_task(self._drain())

    def begin(self) -> None:
        self._running += 1
        self._idle.clear()

    def finish(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()

    async def _drain(self) -> None:
        try:
            await asyncio.wait_for(self._idle.wait(), self._seconds)
        except TimeoutError:
            seconds = f"{self._seconds:g}"
            print(f"stopped with {self._running} requests in work after {seconds} s", flush=True)
        else:
            print("stopped: no request is in work", flush=True)
        self._end()


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
