"""Which texts BM25 takes for the same."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from rag.memory.analysis import LANGUAGES, TERM, Analyzer, hashed

ENGLISH = Analyzer("english")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("running cats", "RUNS cat"),
        ("the user's files", "user file"),
        ("the user’s files", "user file"),
        ("snake_case_name", "snake case name"),
        ("STRASSE", "straße"),
        ("ＡＢＣ", "abc"),
        ("cafe\u0301", "caf\u00e9"),
        ("℡", "tel"),
        ("a, an; the.", ""),
        ("HTTP/1.1", "http 1 1"),
    ],
)
def test_these_are_the_same(one: str, other: str) -> None:
    assert ENGLISH.count(one) == ENGLISH.count(other)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("cat cat dog", {"cat": 2, "dog": 1}),
        ("東京都", {"東京": 1, "京都": 1}),
        ("猫 and cat", {"猫": 1, "cat": 1}),
        ("한국어 문서", {"한국": 1, "국어": 1, "문서": 1}),
        ("हिन्दी", {"हिन्दी": 1}),
        ("π42x", {"π42x": 1}),
    ],
)
def test_terms_are_counted(text: str, terms: dict[str, int]) -> None:
    assert ENGLISH.count(text) == {hashed(term): count for term, count in terms.items()}


def test_a_part_of_a_japanese_text_is_found() -> None:
    assert set(ENGLISH.count("検索")) <= set(ENGLISH.count("全文検索エンジン"))


def test_languages() -> None:
    assert Analyzer("none").count("the cats") == {hashed("the"): 1, hashed("cats"): 1}
    assert set(Analyzer("german").count("Katzen")) == set(Analyzer("german").count("Katze"))
    assert "english" in LANGUAGES
    with pytest.raises(ValueError, match="klingon"):
        Analyzer("klingon")
    assert Analyzer("german").signature != ENGLISH.signature


def test_packed_is_what_was_counted() -> None:
    text = "one two two three three three " + "many " * 70_000
    records = np.frombuffer(ENGLISH.pack(text), TERM)
    counts = ENGLISH.count(text)
    assert {int(r["term"]): int(r["count"]) for r in records} == {
        term: min(count, 65_535) for term, count in counts.items()
    }
    assert ENGLISH.pack("") == b""


def test_hashes_do_not_change() -> None:
    """They are on disk."""
    assert hashed("kaito") == 2_966_933_936
    assert ENGLISH.signature == "1:english"


def test_long_words_are_not_kept() -> None:
    analyzer = Analyzer("english")
    analyzer.pack("x" * 100_000)
    assert not analyzer._terms


def test_many_threads_count_alike() -> None:
    analyzer, found = Analyzer("english"), []
    texts = [f"running{at} jumps{at % 7} cats foxes houses" for at in range(300)]
    start = threading.Barrier(4)

    def count() -> None:
        start.wait()
        found.append([analyzer.pack(text) for text in texts])

    threads = [threading.Thread(target=count) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [[Analyzer("english").pack(text) for text in texts]] * 4
