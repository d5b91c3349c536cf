"""A cloud's queue of notices: machines that it takes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from cloudproviders.provider import Interruption


class NoticeQueue:
    """Read by `stream`, as CloudProvider.interruptions has it; tests put things in."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        """The kind of each notice that need not be given again."""
        self.opened = 0
        self.closed = 0
        self._waiting: asyncio.Queue[Interruption | Exception] = asyncio.Queue()

    def announce(
        self,
        kind: str,
        provider_id: str,
        *,
        deadline: datetime | None = None,
        advisory: bool = False,
        sent: datetime | None = None,
    ) -> None:
        async def acknowledge() -> None:
            self.acknowledged.append(kind)

        notice = Interruption(
            kind=kind,
            provider_id=provider_id,
            message=f"notice of {kind}",
            deadline=deadline,
            advisory=advisory,
            acknowledge=acknowledge,
            sent=sent,
        )
        self._waiting.put_nowait(notice)

    def breaks(self, error: Exception) -> None:
        """Whoever reads gets this next."""
        self._waiting.put_nowait(error)

    async def stream(self) -> AsyncIterator[Interruption]:
        self.opened += 1
        try:
            while True:
                given = await self._waiting.get()
                if isinstance(given, Exception):
                    raise given
                yield given
        finally:
            self.closed += 1
