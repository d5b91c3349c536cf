"""Index names become file names, and files are told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rag.errors import InvalidError
from rag.storage import names
from rag.storage.names import FileName

SAFE = set("abcdefghijklmnopqrstuvwxyz0123456789._-~")


@pytest.mark.parametrize(
    "name", ["", "a" * 254, "a/b", "a\x00", "a\nb", "\x85", ".", "..", "\ud800"]
)
def test_a_name_that_cannot_be_in_a_path_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(InvalidError) as refused:
        names.validate(name, "body", "index_name")

    assert refused.value.field == ("body", "index_name")


@pytest.mark.parametrize(
    "name", ["docs", "Docs", "a b", "文書", "~", "-", "a" * 253, "x%2Fy", "..."]
)
def test_any_other_name_has_a_file_name_that_every_file_system_takes(name: str) -> None:
    names.validate(name)
    stem = names.stem(name)

    assert set(stem) <= SAFE
    assert len(f"{stem}.00000001-12345678.db-journal.corrupt-20260101T000000.000000Z") < 255
    assert stem[0] not in ".-"
    assert FileName.parse(str(FileName.next(stem, None))) is not None


def test_a_plain_name_stays_readable() -> None:
    assert names.stem("team-a.docs_2") == "team-a.docs_2"


@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=2, unique=True))
def test_no_two_names_share_a_file_even_where_case_is_ignored(two: list[str]) -> None:
    try:
        for each in two:
            names.validate(each)
    except InvalidError:
        return
    assert names.stem(two[0]).lower() != names.stem(two[1]).lower()


def test_the_latest_generation_is_the_index() -> None:
    old = FileName.next("docs", None)
    new = FileName.next("docs", old)
    other = FileName.next("docs.old", None)

    assert names.current(map(str, (new, old, other))) == {"docs": new, "docs.old": other}


def test_what_a_crash_left_is_told_from_what_is_needed() -> None:
    old = FileName("docs", 1, "aaaaaaaa")
    new = FileName("docs", 2, "bbbbbbbb")
    needed = [
        str(new),
        f"{new}-wal",
        f"{new}-shm",
        f"{old}.corrupt-20260101T000000.000000Z",
        "readme",
    ]
    left = [str(old), f"{old}-wal", ".making-1", ".making-1-wal", "gone.00000001-aaaaaaaa.db-wal"]

    assert set(names.superseded(needed + left)) == set(left)
