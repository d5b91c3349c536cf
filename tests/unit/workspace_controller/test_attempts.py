"""The memory of claims: names, back-off, and a spelling that survives."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.builders import NOW, UID
from workspace_controller.nodes import attempts
from workspace_controller.nodes.attempts import ATTEMPTS_ANNOTATION, Attempt


def test_a_name_is_eleven_characters_that_an_agent_pool_takes():
    assert re.fullmatch(r"ws[0-9a-f]{9}", attempts.claim_name(UID, 0, 1))


def test_names_differ_by_workspace_ordinal_and_attempt():
    names = {
        attempts.claim_name(uid, ordinal, number)
        for uid in (UID, "another")
        for ordinal in (0, 1, 11)
        for number in (1, 2, 12)
    }
    assert len(names) == 18


@pytest.mark.parametrize(
    ("losses", "seconds"),
    [(0, 0), (1, 0), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (500, 300)],
)
def test_the_pause_doubles_up_to_five_minutes(losses, seconds):
    assert attempts.delay_seconds(losses) == seconds


def test_the_first_loss_is_made_good_at_once():
    lost = Attempt(number=1, made=True).lost(NOW)
    assert lost == Attempt(number=2, losses=1)
    assert lost.wait_seconds(NOW) == 0


def test_a_second_loss_in_a_row_waits():
    lost = Attempt(number=2, made=True, losses=1).lost(NOW, reason="Sold", message="sold out")
    assert lost.number == 3
    assert lost.wait_seconds(NOW) == 10
    assert lost.wait_seconds(NOW + timedelta(seconds=10)) == 0
    assert (lost.reason, lost.message) == ("Sold", "sold out")


def test_a_loss_without_words_keeps_the_earlier_ones():
    assert Attempt(made=True, losses=1, reason="Sold").lost(NOW).reason == "Sold"


def test_ready_forgives():
    assert Attempt(number=5, losses=4, reason="Sold").seen(ready=True) == Attempt(5, made=True)


def test_seen_but_not_ready_forgives_nothing():
    seen = Attempt(number=5, losses=4, reason="Sold", not_before=NOW).seen(ready=False)
    assert seen == Attempt(number=5, made=True, losses=4, reason="Sold")


def test_what_is_written_is_read_again():
    memory = {
        0: Attempt(),
        1: Attempt(3, made=True, losses=2, reason="Sold", message='none "left"'),
        10: Attempt(4, losses=3, not_before=NOW),
    }
    assert attempts.read({ATTEMPTS_ANNOTATION: attempts.write(memory)}) == memory


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', '{"a":{"attempt":1}}', '{"0":{}}', '{"0":7}']
)
def test_text_that_we_did_not_write_counts_as_nothing(text):
    assert attempts.read({ATTEMPTS_ANNOTATION: text}) == {}


def test_a_time_without_a_zone_is_taken_for_utc():
    text = '{"0": {"attempt": 2, "notBefore": "2126-01-01T00:00:00"}}'
    attempt = attempts.read({ATTEMPTS_ANNOTATION: text})[0]
    assert attempt.wait_seconds(NOW) > 0


def test_nothing_is_remembered_at_first():
    assert attempts.read({}) == {}
