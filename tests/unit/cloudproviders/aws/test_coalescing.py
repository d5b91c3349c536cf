"""Many callers, few calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cloudproviders.aws.coalescing import Coalesced, Remembered
from tests.fakes.clock import FakeClock, settle


class Service:
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.open = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, keys: Sequence[str]) -> int:
        self.calls.append(list(keys))
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return len(self.calls)


async def test_what_is_asked_meanwhile_goes_into_the_next_call() -> None:
    service = Service()
    ask = Coalesced(service)
    first = [asyncio.create_task(ask(key)) for key in ("a", "b", "a")]
    await settle()
    later = [asyncio.create_task(ask(key)) for key in ("c", "d")]
    await settle()

    service.open.set()
    answers = await asyncio.gather(*first, *later)

    assert service.calls == [["a", "b"], ["c", "d"]]
    assert answers == [1, 1, 1, 2, 2]


async def test_a_caller_that_leaves_takes_nobody_along() -> None:
    service = Service()
    ask = Coalesced(service)
    leaver, stayer = asyncio.create_task(ask("a")), asyncio.create_task(ask("b"))
    await settle()

    leaver.cancel()
    service.open.set()

    assert await stayer == 1


async def test_a_failure_is_everybodys_and_not_the_next_calls() -> None:
    service = Service()
    service.open.set()
    service.failure = RuntimeError("no")
    ask = Coalesced(service)

    results = await asyncio.gather(ask("a"), ask("b"), return_exceptions=True)
    service.failure = None

    assert [str(each) for each in results] == ["no", "no"]
    assert await ask("c") == 2


async def test_answers_hold_for_their_time() -> None:
    clock, asked = FakeClock(), list[str]()

    async def look(key: str) -> int:
        asked.append(key)
        return len(asked)

    known = Remembered(look, 60.0, clock)

    assert list(await asyncio.gather(known("a"), known("a"), known("b"))) == [1, 1, 2]
    clock.advance(59)
    assert await known("a") == 1
    clock.advance(2)
    assert await known("a") == 3
    known.forget("a")
    assert await known("a") == 4


async def test_failures_are_not_remembered() -> None:
    failing = True

    async def look(key: str) -> str:
        if failing:
            raise RuntimeError("no")
        return key

    known = Remembered(look, 60.0, FakeClock())
    with pytest.raises(RuntimeError):
        await known("a")
    failing = False

    assert await known("a") == "a"
