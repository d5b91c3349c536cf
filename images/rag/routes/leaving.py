"""Clients that go away before their answer is there: nobody computes for them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from fastapi import Request

CLOSED_REQUEST: Final = 499
"""As nginx logs it. Nobody reads it, and the metrics count a failure."""
ResultT = TypeVar("ResultT")


async def unless_gone(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT | None:
    """None where the client left first, and the work was cancelled. The body has been read."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
