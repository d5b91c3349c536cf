"""One read for everybody, and one operation at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from cloudproviders.arc.book import GIVEN_UP_SECONDS, Book, Turns
from cloudproviders.arc.pools import Pool
from tests.fakes.clock import FakeClock


class Site:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pools: dict[str, Pool] = {"a": Pool(name="a", state="Succeeded")}
        self.reads = 0
        self.answer = asyncio.Event()
        self.answer.set()
        self.book = Book(self.read, self.clock)

    async def read(self) -> Iterable[Pool]:
        self.reads += 1
        found = list(self.pools.values())
        await self.answer.wait()
        return found


async def test_many_who_ask_share_a_read_until_it_is_too_old() -> None:
    site = Site()

    await asyncio.gather(*(site.book.pools(10) for _ in range(5)))
    assert site.reads == 1
    site.clock.advance(10)
    await site.book.pools(10)
    assert site.reads == 1
    site.clock.advance(1)
    await site.book.pools(10)
    assert site.reads == 2


async def test_who_wants_to_know_now_gets_a_read_of_now() -> None:
    site = Site()
    await site.book.pools(0)
    await site.book.pools(0)
    assert site.reads == 2

    site.answer.clear()
    asked = [asyncio.create_task(site.book.pools(0)) for _ in range(3)]
    await asyncio.sleep(0)
    late = asyncio.create_task(site.book.pools(0))
    await asyncio.sleep(0)
    site.answer.set()
    await asyncio.gather(*asked, late)
    assert site.reads <= 4


async def test_what_was_written_during_a_read_is_not_lost() -> None:
    site = Site()
    site.answer.clear()
    reading = asyncio.create_task(site.book.pools(0))
    await asyncio.sleep(0)

    site.book.write("b", Pool(name="b", state="Accepted"))
    site.book.write("a", None)
    site.answer.set()

    assert set(await reading) == {"b"}
    site.clock.advance(100)
    assert set(await site.book.pools(10)) == {"a"}  # and the next read is believed


async def test_doubt_makes_the_next_one_look() -> None:
    site = Site()
    await site.book.pools(10)
    site.book.doubt()
    await site.book.pools(10)

    assert site.reads == 2


def test_first_come_first_and_who_stays_away_loses_his_place() -> None:
    clock = FakeClock()
    turns = Turns(clock)
    assert [turns.ahead(who) for who in "abc"] == [0, 1, 2]
    assert turns.ahead("b") == 1

    turns.taken("a")
    assert turns.ahead("c") == 1
    clock.advance(GIVEN_UP_SECONDS + 1)
    assert turns.ahead("c") == 0
