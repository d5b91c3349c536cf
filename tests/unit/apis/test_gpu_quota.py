"""What a namespace may ask for, and what is said where it may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apis.kaito.validation import quota
from apis.kaito.validation.quota import Account, QuotaError, Share

KEY = "kaito.sh/gpu-quota"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def share(name: str, asks: int = 0, holds: int = 0, age: int = 0, **more: bool) -> Share:
    return Share("Workspace", name, asks, holds, NOW - timedelta(hours=age), **more)


def account(limit: int, *shares: Share) -> Account:
    return Account("team", limit, f"annotation {KEY}", shares)


@pytest.mark.parametrize(("text", "number"), [("8", 8), (" 0 ", 0), ("007", 7)])
def test_a_whole_number_is_a_quota(text: str, number: int) -> None:
    assert quota.limit("team", {KEY: text}, None) == (number, f"annotation {KEY}")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "8 GPUs", "٣", "1e3", "0x8", "9" * 5000])
def test_anything_else_is_told_with_what_to_do(text: str) -> None:
    with pytest.raises(QuotaError) as caught:
        quota.limit("team", {KEY: text}, 5)
    said = str(caught.value)
    assert f"annotation {KEY} is" in said
    assert "kubectl annotate namespace team kaito.sh/gpu-quota=8 --overwrite" in said
    assert len(said) < 400


def test_without_an_annotation_the_installations_own_holds() -> None:
    assert quota.limit("team", {}, None) is None
    assert quota.limit("team", {}, 3) == (3, "the installation's gpuQuota.default")
    assert quota.limit("team", {KEY: "1"}, 3) == (1, f"annotation {KEY}")


def test_a_refusal_says_who_has_what_and_what_to_do() -> None:
    old = share("old", holds=1, ending=True)
    said = account(4, share("a", asks=2), share("b", asks=1, holds=1), old)
    assert said.refuses("Workspace", "new", 2) == (
        'namespace "team" may have 4 GPUs (annotation kaito.sh/gpu-quota): 4 are used (Workspace a'
        " 2, Workspace b 1, Workspace old 1 until its nodes are gone), and 2 more are asked for;"
        " ask for fewer, delete what is not needed, or have the quota raised: kubectl annotate"
        " namespace team kaito.sh/gpu-quota=6 --overwrite"
    )


def test_what_is_stored_is_not_counted_twice_when_it_is_edited() -> None:
    assert account(2, share("a", asks=1)).refuses("Workspace", "a", 2) == ""
    assert account(2, share("a", asks=1)).refuses("RAGEngine", "a", 2)


def test_many_are_not_all_named() -> None:
    said = account(9, *(share(f"a{n}", asks=1) for n in range(9))).refuses("Workspace", "b", 1)
    assert "and 3 more" in said


@pytest.mark.parametrize(
    ("limit", "others", "more", "given"),
    [
        pytest.param(2, [], 2, True, id="it fits"),
        pytest.param(2, [], 3, False, id="too much"),
        pytest.param(2, [share("b", holds=1)], 2, False, id="another holds some"),
        pytest.param(2, [share("b", asks=2, age=9, waits=True)], 1, False, id="an elder waits"),
        pytest.param(2, [share("b", asks=2, waits=True)], 1, True, id="a younger one waits"),
        pytest.param(2, [share("b", asks=5, age=9, waits=True)], 2, True, id="an elder never can"),
        pytest.param(2, [share("b", asks=2, age=9)], 2, True, id="an elder that its user stops"),
        pytest.param(2, [share("b", holds=9, ending=True)], 0, True, id="nothing more is asked"),
    ],
)
def test_whose_turn_it_is(limit: int, others: list[Share], more: int, given: bool) -> None:
    mine = share("me", asks=more, age=5, waits=True)
    assert (account(limit, mine, *others).withholds("Workspace", "me", more) == "") is given


def test_of_two_that_are_as_old_the_name_decides() -> None:
    both = account(1, share("a", asks=1, waits=True), share("b", asks=1, waits=True))
    assert both.withholds("Workspace", "a", 1) == ""
    assert both.withholds("Workspace", "b", 1)
