"""Rules of failing: whatever is lost on the way, no machine is lost and none is doubled."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from cloudproviders.errors import CloudUnavailableError, NodeClaimNotFoundError
from cloudproviders.provider import CloudProvider, Pending
from tests.conformance.cloudprovider.launch import need
from tests.conformance.cloudprovider.world import Ability, World

DEATHS = (0, 1, 2, 4, 8, 16, 32, 64)
"""Turns of the event loop that a process lives on after it was asked for a machine."""


class Faults:
    """Lost answers, deaths, silence, throttling and expired credentials."""

    async def test_two_processes_at_once_make_one_instance(self, world: World) -> None:
        claim = world.claim()
        other = await world.another()

        results = await asyncio.gather(
            world.provider.create(claim), other.create(claim), return_exceptions=True
        )
        _only_transient(results)
        await world.launched(claim)

        assert len(await world.machines()) == 1

    async def test_a_lost_answer_to_create_is_one_instance(self, world: World) -> None:
        claim = world.claim()
        world.lose_next_answer("create")

        with suppress(CloudUnavailableError):
            await world.provider.create(claim)
        await world.launched(claim)

        assert len(await world.machines()) == 1

    async def test_a_lost_answer_and_a_restart_are_one_instance(self, world: World) -> None:
        claim = world.claim()
        world.lose_next_answer("create")

        with suppress(CloudUnavailableError):
            await world.provider.create(claim)
        await world.restart()
        await world.launched(claim)

        assert len(await world.machines()) == 1

    async def test_a_lost_answer_to_delete_ends_in_not_found(self, world: World) -> None:
        claim = world.claim()
        await world.launched(claim)
        world.lose_next_answer("delete")

        with suppress(CloudUnavailableError, NodeClaimNotFoundError):
            await world.provider.delete(claim)
        await world.gone(claim)

        assert await world.machines() == []

    async def test_a_process_that_dies_anywhere_in_create_leaves_at_most_one(
        self, world: World
    ) -> None:
        for number, turns in enumerate(DEATHS):
            claim = world.claim(f"ws{number}")
            await _killed(world.provider.create(claim), turns)
            await world.restart()

            await world.launched(claim)

            assert len(await world.machines_of(claim)) == 1, f"died after {turns} turns"

    async def test_a_process_that_dies_anywhere_in_delete_leaves_nothing(
        self, world: World
    ) -> None:
        for number, turns in enumerate(DEATHS):
            claim = world.claim(f"ws{number}")
            await world.launched(claim)
            await _killed(world.provider.delete(claim), turns)
            await world.restart()

            await world.gone(claim)

            assert await world.machines_of(claim) == [], f"died after {turns} turns"

    async def test_a_cloud_that_is_away_is_transient(self, world: World) -> None:
        claim = world.claim()
        await world.launched(world.claim("ws0"))

        async with world.away():
            errors = await _failures(world, claim)

        assert errors
        await world.launched(claim)
        assert len(await world.machines_of(claim)) == 1

    async def test_a_cloud_that_is_away_loses_nothing_from_the_list(self, world: World) -> None:
        """An empty answer would make garbage collection delete every claim."""
        await world.launched(world.claim())
        await world.restart()

        async with world.away():
            with pytest.raises(CloudUnavailableError):
                await world.provider.list()

        assert len(await world.provider.list()) == 1

    async def test_throttling_is_transient(self, world: World) -> None:
        need(world, Ability.THROTTLING)
        claim = world.claim()
        world.throttle(2)

        for _ in range(5):
            try:
                answer = await world.provider.create(claim)
            except CloudUnavailableError:
                await world.tick(1.0)
                continue
            if not isinstance(answer, Pending):
                break
        await world.launched(claim)

        assert len(await world.machines()) == 1

    async def test_expired_credentials_are_transient_and_never_told(self, world: World) -> None:
        need(world, Ability.CREDENTIALS)
        claim = world.claim()
        await world.launched(world.claim("ws0"))

        async with world.expired_credentials():
            errors = await _failures(world, claim)

        assert errors
        assert world.secrets
        await world.launched(claim)
        _tell_no_secrets(world, errors)


async def _killed(call: Awaitable[Any], turns: int) -> None:
    """A process that does nothing more after so many turns of the event loop."""
    running = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError, NodeClaimNotFoundError):
        await running


async def _failures(world: World, claim: Any) -> list[BaseException]:
    """What each verb raises now; every one must be of the transient kind, or succeed."""
    provider = world.provider
    calls: list[Callable[[CloudProvider], Awaitable[Any]]] = [
        lambda cloud: cloud.create(claim),
        lambda cloud: cloud.list(),
        lambda cloud: cloud.delete(world.claim("ws0")),
    ]
    results = await asyncio.gather(*(call(provider) for call in calls), return_exceptions=True)
    _only_transient(results)
    errors = [each for each in results if isinstance(each, BaseException)]
    _tell_no_secrets(world, errors)
    return errors


def _only_transient(results: Iterable[Any]) -> None:
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, CloudUnavailableError):
            raise result


def _tell_no_secrets(world: World, errors: list[BaseException]) -> None:
    for error in errors:
        told = "".join(traceback.format_exception(error)) + repr(error)
        for secret in world.secrets:
            assert secret not in told
