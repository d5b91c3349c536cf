"""One vector of many, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rag.embedding.pooling import pooled

TOKENS = np.array(
    [[[1, -2], [3, 4], [90, 90]], [[-2, 0], [0, -6], [4, -3]]],
    np.float32,
)
MASK = np.array([[1, 1, 0], [1, 1, 1]])
ROOT2, ROOT3 = 2**0.5, 3**0.5


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("cls", [[1, -2], [-2, 0]]),
        ("max", [[3, 4], [4, 0]]),
        ("mean", [[2, 1], [2 / 3, -3]]),
        ("mean_sqrt_len_tokens", [[4 / ROOT2, 2 / ROOT2], [2 / ROOT3, -9 / ROOT3]]),
        ("weightedmean", [[7 / 3, 2], [10 / 6, -21 / 6]]),
        ("lasttoken", [[3, 4], [4, -3]]),
    ],
)
def test_padding_does_not_count(mode: str, expected: list[list[float]]) -> None:
    found = pooled(TOKENS, MASK, [mode])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_several_are_joined() -> None:
    found = pooled(TOKENS, MASK, ["lasttoken", "cls"])
    assert found.tolist() == [[3, 4, 1, -2], [4, -3, -2, 0]]
