"""Who waits for the threads that compute, shown by the order of their calls."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rag.documents import Vectors
from rag.embedding.lines import Lines, Pace, estimated_tokens, portions
from rag.errors import EmbedderError

Call = tuple[list[str], bool]
QUERIES = 32
ONE = Pace(threads=1, queries=QUERIES, batch_tokens=20)
"""Of the texts below two go into a portion."""
SEVERAL = Pace(threads=3, queries=1, batch_tokens=20)
WAIT = 10


def vector(text: str) -> Vectors:
    return np.array([len(text), sum(map(ord, text))], np.float32)


class Encoder:
    """Each call waits until it is let go on."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._entered: queue.Queue[Call] = queue.Queue()
        self._gate = threading.Semaphore(0)

    def __call__(self, texts: Sequence[str], queries: bool) -> Vectors:
        call = list(texts), queries
        self.calls.append(call)
        self._entered.put(call)
        assert self._gate.acquire(timeout=WAIT)
        if any("bad" in text for text in texts):
            raise EmbedderError("It is bad.")
        if any("short" in text for text in texts):
            return np.ones((len(texts) - 1, 2), np.float32)
        return np.stack([vector(text) for text in texts])

    def entered(self) -> Call:
        """The call that is in work."""
        return self._entered.get(timeout=WAIT)

    def go(self, calls: int = 1) -> None:
        self._gate.release(calls)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def lines(encoder: Encoder) -> Iterator[Lines]:
    lines = Lines(encoder, ONE)
    yield lines
    encoder.go(1000)
    lines.close()


def until_closed(lines: Lines) -> None:
    """Its threads take nothing any more."""
    while not lines._closed:
        time.sleep(0.001)


def texts(count: int, name: str = "document") -> list[str]:
    return [f"{name} no. {at:03}" for at in range(count)]


def test_queries_overtake_documents_and_go_together(lines: Lines, encoder: Encoder) -> None:
    documents = lines.documents(texts(6))
    encoder.entered()
    queries = [lines.query(f"q{at}") for at in range(3)]
    encoder.go()
    assert encoder.entered() == (["q0", "q1", "q2"], True)
    encoder.go(1000)
    assert [each.result(WAIT).tolist() for each in queries] == [
        vector(f"q{at}").tolist() for at in range(3)
    ]
    assert documents.result(WAIT).shape == (6, 2)
    assert [is_query for _, is_query in encoder.calls] == [False, True, False, False]


def test_no_more_queries_at_once_than_that(lines: Lines, encoder: Encoder) -> None:
    lines.query("first")
    encoder.entered()
    for at in range(QUERIES + 1):
        lines.query(f"q{at}")
    encoder.go(1000)
    assert [len(encoder.entered()[0]) for _ in range(2)] == [QUERIES, 1]


def test_documents_come_back_in_their_order(lines: Lines, encoder: Encoder) -> None:
    given = ["b", "a" * 200, "cc", "d" * 100, "", "b"]
    encoder.go(1000)
    found = lines.documents(given).result(WAIT)
    assert found.tolist() == [vector(text).tolist() for text in given]


def test_who_came_first_is_done_first(lines: Lines, encoder: Encoder) -> None:
    done: list[str] = []
    for name in ("one", "two"):
        lines.documents(texts(4, name)).add_done_callback(lambda _, name=name: done.append(name))  # type: ignore[misc]
    last = lines.documents(["three"])
    encoder.go(1000)
    last.result(WAIT)
    assert done == ["one", "two"]


def test_a_document_that_fails_is_its_callers(lines: Lines, encoder: Encoder) -> None:
    bad, good = lines.documents([*texts(5), "bad"]), lines.documents(texts(3))
    encoder.go(1000)
    with pytest.raises(EmbedderError, match="It is bad"):
        bad.result(WAIT)
    assert good.result(WAIT).shape == (3, 2)


def test_a_query_that_fails_is_its_callers(lines: Lines, encoder: Encoder) -> None:
    lines.documents(["x"])
    encoder.entered()
    queries = [lines.query(text) for text in ("one", "bad", "two")]
    encoder.go(1000)
    assert [each.exception(WAIT) is None for each in queries] == [True, False, True]
    assert queries[2].result(WAIT).tolist() == vector("two").tolist()


@pytest.mark.parametrize("text", ["short", "bad"])
def test_the_thread_survives(lines: Lines, encoder: Encoder, text: str) -> None:
    encoder.go(1000)
    for failing in (lines.query(text), lines.documents([text]), lines.documents([])):
        assert failing.exception(WAIT) is not None
    assert lines.query("good").result(WAIT).tolist() == vector("good").tolist()


def test_nobody_computes_for_who_went(lines: Lines, encoder: Encoder) -> None:
    lines.documents(["x"])
    encoder.entered()
    gone: list[Future[Vectors]] = [lines.query("gone"), lines.documents(texts(4))]
    stays = lines.query("stays")
    assert all(each.cancel() for each in gone)
    encoder.go(1000)
    stays.result(WAIT)
    lines.documents(["after"]).result(WAIT)
    assert encoder.calls == [(["x"], False), (["stays"], True), (["after"], False)]


def test_who_goes_in_the_middle_is_not_finished(lines: Lines, encoder: Encoder) -> None:
    going = lines.documents(texts(6))
    encoder.entered()
    going.cancel()
    encoder.go(1000)
    lines.documents(["after"]).result(WAIT)
    assert len(encoder.calls) == 2
    with pytest.raises(CancelledError):
        going.result(WAIT)


def test_closing_tells_those_who_wait(encoder: Encoder) -> None:
    lines = Lines(encoder, ONE)
    working = lines.query("in work")
    encoder.entered()
    waiting = [lines.query("waits"), lines.documents(["waits, too"])]
    closing = threading.Thread(target=lines.close)
    closing.start()
    until_closed(lines)
    encoder.go(1000)
    closing.join(WAIT)
    assert working.result(WAIT).tolist() == vector("in work").tolist()
    for each in (*waiting, lines.query("later"), lines.documents(["later"])):
        with pytest.raises(EmbedderError, match="stopping"):
            each.result(WAIT)
    assert len(encoder.calls) == 1


@pytest.fixture
def several(encoder: Encoder) -> Iterator[Lines]:
    lines = Lines(encoder, SEVERAL)
    yield lines
    encoder.go(1000)
    lines.close()


def test_one_callers_documents_are_computed_side_by_side(several: Lines, encoder: Encoder) -> None:
    given = texts(6)
    found = several.documents(given)
    at_once = [encoder.entered() for _ in range(3)]
    assert sorted(text for call, _ in at_once for text in call) == given
    encoder.go(1000)
    assert found.result(WAIT).tolist() == [vector(text).tolist() for text in given]


def test_a_query_takes_the_first_thread_that_is_free(several: Lines, encoder: Encoder) -> None:
    several.documents(texts(20))
    for _ in range(3):
        encoder.entered()
    one, other = several.query("one"), several.query("other")
    encoder.go(2)
    assert sorted(encoder.entered() for _ in range(2)) == [(["one"], True), (["other"], True)]
    encoder.go(1000)
    assert one.result(WAIT).tolist() == vector("one").tolist()
    assert other.result(WAIT).tolist() == vector("other").tolist()


def test_a_portion_that_fails_ends_its_caller_and_nobody_else(
    several: Lines, encoder: Encoder
) -> None:
    bad, good = several.documents(["bad" * 20, *texts(40)]), several.documents(texts(9))
    encoder.go(1000)
    with pytest.raises(EmbedderError, match="It is bad"):
        bad.result(WAIT)
    assert good.result(WAIT).shape == (9, 2)
    assert several.query("q").result(WAIT).tolist() == vector("q").tolist()


def test_closing_several_finishes_what_they_compute(encoder: Encoder) -> None:
    lines = Lines(encoder, SEVERAL)
    whole, half = lines.documents(texts(4)), lines.documents(texts(8))
    for _ in range(3):
        encoder.entered()
    closing = threading.Thread(target=lines.close)
    closing.start()
    until_closed(lines)
    encoder.go(1000)
    closing.join(WAIT)
    assert whole.result(WAIT).shape == (4, 2)
    with pytest.raises(EmbedderError, match="stopping"):
        half.result(WAIT)


@given(
    st.lists(st.lists(st.sampled_from(["a", "bb" * 9, "bad", "c" * 70]), min_size=1), max_size=8),
    st.integers(1, 4),
)
def test_each_caller_gets_its_own_in_its_order(given: list[list[str]], threads: int) -> None:
    def encode(texts: Sequence[str], queries: bool) -> Vectors:
        if "bad" in texts:
            raise EmbedderError("It is bad.")
        return np.stack([vector(text) for text in texts])

    lines = Lines(encode, Pace(threads=threads, queries=2, batch_tokens=20))
    answers = [(each, lines.documents(each)) for each in given]
    for asked, answer in answers:
        if "bad" in asked:
            assert isinstance(answer.exception(WAIT), EmbedderError)
        else:
            assert answer.result(WAIT).tolist() == [vector(text).tolist() for text in asked]
    lines.close()


@given(st.lists(st.text(max_size=400), max_size=60), st.integers(1, 500))
def test_portions_are_each_text_once_and_bounded(given: list[str], batch_tokens: int) -> None:
    found = list(portions(given, batch_tokens))
    assert sorted(at for places in found for at in places) == list(range(len(given)))
    lengths = [[estimated_tokens(given[at]) for at in places] for places in found]
    assert [max(each) for each in lengths] == sorted(map(max, lengths), reverse=True)
    for each in lengths:
        assert len(each) == 1 or len(each) * max(each) <= batch_tokens
    for one, other in itertools.pairwise(lengths):
        assert (len(one) + 1) * max(one) > batch_tokens, "there was room"
        assert min(one) >= max(other)


def test_signs_of_three_bytes_are_tokens() -> None:
    assert estimated_tokens("日本語") == 5
    assert estimated_tokens("abc") == 3
