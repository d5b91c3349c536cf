"""Names of models at Hugging Face."""

from __future__ import annotations

import pytest

from presets.reference import Reference, parse


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("owner/model", Reference("owner/model"), id="plain"),
        pytest.param(" Owner/My.Model-1B_x ", Reference("Owner/My.Model-1B_x"), id="spelling kept"),
        pytest.param("o/m:Q4_K_M", Reference("o/m", "Q4_K_M"), id="quantisation"),
        pytest.param("o/m@v1.0", Reference("o/m", "", "v1.0"), id="revision"),
        pytest.param("o/m:Q8_0@refs/pr/3", Reference("o/m", "Q8_0", "refs/pr/3"), id="both"),
        pytest.param("phi-4", None, id="no owner"),
        pytest.param("a/b/c", None, id="too deep"),
        pytest.param("o/m?x=1", None, id="a query"),
        pytest.param("../m", None, id="a way out"),
        pytest.param("o/m@../../x", None, id="a way out by revision"),
        pytest.param("o/m:", None, id="no quantisation"),
    ],
)
def test_parse(name: str, expected: Reference | None) -> None:
    assert parse(name) == expected


@pytest.mark.parametrize("name", ["o/m", "o/m:Q4_K_M", "o/m@v1", "o/m:Q4_K_M@v1"])
def test_it_is_written_as_it_was_read(name: str) -> None:
    assert str(parse(name)) == name
