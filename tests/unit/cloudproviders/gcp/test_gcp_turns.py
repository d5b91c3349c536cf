"""The line before a cluster that does little at a time."""

from __future__ import annotations

import pytest

from cloudproviders.gcp.turns import FORGET_SECONDS, PAUSE_SECONDS, RELAX_SECONDS, Turns
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_no_more_than_the_most_go_at_a_time(clock: FakeClock) -> None:
    turns = Turns(2, clock)

    assert turns.ask("a", set()) == ""
    assert turns.ask("b", set()) == ""
    assert turns.ask("c", set()) == "2 node pool operations are in progress, 0 before it"
    assert turns.ask("d", set()) == "2 node pool operations are in progress, 1 before it"


def test_what_the_cluster_is_at_counts_as_well(clock: FakeClock) -> None:
    turns = Turns(2, clock)

    assert turns.ask("a", {"x", "y"})
    assert turns.ask("a", {"x"}) == ""


def test_who_came_first_goes_first(clock: FakeClock) -> None:
    turns = Turns(1, clock)
    turns.ask("a", set())
    turns.ask("b", set())
    turns.ask("c", set())
    turns.landed("a")

    assert turns.ask("c", set())
    assert turns.ask("b", set()) == ""


def test_who_has_left_the_line_holds_nobody_up(clock: FakeClock) -> None:
    turns = Turns(1, clock)
    turns.ask("a", set())
    turns.ask("gone", set())
    turns.landed("a")
    clock.advance(FORGET_SECONDS + 1)

    assert turns.ask("c", set()) == ""


def test_a_refusal_teaches_how_many_the_cluster_takes(clock: FakeClock) -> None:
    turns = Turns(5, clock)
    for name in "abcde":
        assert turns.ask(name, set()) == ""
    turns.landed("a")  # the only one that was taken
    for name in "bcde":
        turns.refused(name, {"a"})
        turns.landed(name)

    assert turns.limit == 1
    assert turns.ask("b", {"a"})
    assert turns.ask("c", set()), "it is b's turn"
    assert turns.ask("b", set()) == ""


def test_somebody_elses_operation_is_waited_for_and_not_asked_after(clock: FakeClock) -> None:
    turns = Turns(5, clock)
    turns.ask("a", set())
    turns.refused("a", set())
    turns.landed("a")

    assert turns.ask("b", set()) == "the cluster is at work on something else, 1 before it"
    clock.advance(PAUSE_SECONDS)
    assert turns.ask("a", set()) == ""


def test_the_pause_that_google_asks_for_is_kept(clock: FakeClock) -> None:
    turns = Turns(5, clock)
    turns.refused("a", {"x"}, retry_after=30.0)

    clock.advance(29)
    assert turns.ask("b", set())
    clock.advance(1)
    assert turns.ask("b", set()) == ""


def test_what_was_learnt_is_put_to_the_test_after_a_while(clock: FakeClock) -> None:
    turns = Turns(3, clock)
    turns.refused("a", {"x"})
    clock.advance(RELAX_SECONDS)
    turns.ask("a", set())

    assert turns.limit == 2
