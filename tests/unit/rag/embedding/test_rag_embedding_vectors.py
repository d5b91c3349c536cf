from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from rag.embedding import vectors
from rag.errors import EmbedderError


def test_rows_of_unit_length() -> None:
    found = vectors.unit([[3, 4], [0, -2]], 2, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, -1]], rtol=1e-6)
    assert vectors.none(7).shape == (0, 7)


@pytest.mark.parametrize("number", [1e-30, 1e30])
def test_small_and_large_numbers_have_a_direction(number: float) -> None:
    assert vectors.unit([[number, 0.0]], 1).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "answered"),
        ({}, "no list of vectors"),
        ("text", "no list of vectors"),
        ([["a"]], "no list of vectors"),
        ([[1.0], [1.0, 2.0]], "no list of vectors"),
        ([], "0 numbers to 1 texts"),
        ([[]], "1 by 0 numbers"),
        ([1.0, 2.0], "2 numbers to 1 texts"),
        ([[1.0], [2.0]], "2 by 1 numbers to 1 texts"),
        ([[[1.0, 2.0]]], "1 by 1 by 2 numbers"),
        ([[1.0, 2.0, 3.0]], "3 dimensions, and had 2"),
        ([[0.0, 0.0]], "no length"),
        ([[math.nan, 1.0]], "not finite"),
        ([[math.inf, 1.0]], "not finite"),
        ([[1e300, 1.0]], "not finite"),
        ([[None, 1.0]], "not finite"),
    ],
)
def test_what_is_no_vector_is_refused(found: Any, reason: str) -> None:
    with pytest.raises(EmbedderError, match=reason) as caught:
        vectors.unit(found, 1, 2)
    assert caught.value.status == 502
