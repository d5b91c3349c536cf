"""The same work for many, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 20
"""As Karpenter's garbage collection. More at once end no sooner, and each needs a connection."""


async def each(items: Iterable[T], work: Callable[[T], Awaitable[object]]) -> None:
    """Do the work for all of them. What fails does not keep the others from their turn; all
    failures are raised together in the end."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> None:
        async with free:
            await work(item)

    done = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    if failures := [failure for failure in done if isinstance(failure, Exception)]:
        raise ExceptionGroup(f"{len(failures)} of {len(done)} failed", failures)
