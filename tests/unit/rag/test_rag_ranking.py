"""Reciprocal rank fusion, and the order of equals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rag.ranking import MIN_POOL, RRF_K, fuse, pool_size, tie_key

from tests.unit.rag.memory import oracle

lists = st.lists(st.integers(0, 60), unique=True, max_size=40)


@given(lists, lists, st.integers(0, 100))
def test_by_definition(dense: list[int], sparse: list[int], top_k: int) -> None:
    expected = oracle.fused([("d", key) for key in dense], [("d", key) for key in sparse])
    found = fuse(dense, sparse, top_k)
    assert len(found) == min(top_k, len(expected))
    best = sorted(expected.values(), reverse=True)[:top_k]
    assert [each.score for each in found] == pytest.approx(best)
    for each in found:
        assert each.score == pytest.approx(expected["d", each.key])
        assert each.dense_rank == (dense.index(each.key) + 1 if each.key in dense else None)
        assert each.sparse_rank == (sparse.index(each.key) + 1 if each.key in sparse else None)


def test_the_first_of_both_has_one() -> None:
    assert fuse(["a", "b"], ["a"], 1)[0].score == 1.0


def test_of_equals_the_dense_one_comes_first() -> None:
    assert [each.key for each in fuse(["a", "b"], ["c", "d"], 9)] == ["a", "c", "b", "d"]
    assert [each.source for each in fuse(["a", "b"], ["b", "d"], 9)] == [
        "both",
        "dense_only",
        "sparse_only",
    ]


@given(st.integers(1, 500), st.data())
def test_nothing_beyond_the_pools_belongs_to_the_best(top_k: int, data: st.DataObject) -> None:
    """Whatever is in neither pool has less than the last of the best, for they are in one."""
    pool = pool_size(top_k)
    assert pool >= MIN_POOL
    assert 2 / (RRF_K + pool + 1) < 1 / (RRF_K + top_k)


def test_equals_are_told_apart_the_same_way_everywhere() -> None:
    assert tie_key("a-document") == 4_329_457_895_526_109_686
    assert tie_key("\ud800") != tie_key("?")
