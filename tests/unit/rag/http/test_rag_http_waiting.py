"""Who waits for another process's files keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.unit.rag.http.fakes import World

CHANGES = ["DELETE /indexes/a", "POST /load/a?overwrite=true"]


@pytest.mark.parametrize("change", CHANGES)
async def test_reads_go_on_while_changes_wait(
    change: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.has("a", "text")
    begun, free = threading.Event(), threading.Event()

    def wait(*_: Any, **__: Any) -> str:
        begun.set()
        free.wait(30)
        return "there"

    monkeypatch.setattr(world.store, "drop", wait)
    monkeypatch.setattr(world.store, "load", wait)
    waiting = [asyncio.create_task(world.ask(change)) for _ in range(50)]
    try:
        async with asyncio.timeout(10):
            while not begun.is_set():
                await asyncio.sleep(0)
            assert (await world.ask("GET /indexes")).json() == ["a"]
            assert (await world.ask("GET /indexes/a/documents")).json()["count"] == 1
    finally:
        free.set()
        answers = await asyncio.gather(*waiting)
    assert {each.status_code for each in answers} == {200}
