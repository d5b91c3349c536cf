"""The fake of unit and integration tests keeps what they rely on: identity and repeatability.
It has no catalogue, so there is no ladder to climb."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.cloudprovider.fake_world import FakeWorld
from tests.conformance.cloudprovider.faults import Faults
from tests.conformance.cloudprovider.identity import Identity
from tests.conformance.cloudprovider.launch import Launch


class TestFakeCloud(Identity):
    @pytest.fixture
    async def world(self) -> AsyncIterator[FakeWorld]:
        async with FakeWorld() as world:
            yield world

    test_create_twice = Launch.test_create_twice_is_one_instance
    test_create_at_the_same_time = Launch.test_create_at_the_same_time_is_one_instance
    test_create_after_a_restart = Launch.test_create_after_a_restart_is_the_same_instance
    test_provider_ids = Launch.test_provider_ids_differ
    test_get = Launch.test_get_finds_an_instance_by_its_provider_id
    test_get_not_found = Launch.test_get_of_what_is_not_ours_or_gone_is_not_found
    test_list = Launch.test_list_is_exactly_what_create_made
    test_drift = Launch.test_a_new_instance_has_not_drifted
    test_two_at_once = Faults.test_two_processes_at_once_make_one_instance
