from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80Gi", 80 * 1024**3),
        ("1.5Gi", 1610612736),
        ("500m", Decimal("0.5")),
        ("100n", Decimal("0.0000001")),
        ("1e3", 1000),
        ("1E3", 1000),
        ("2E", 2 * 10**18),
        ("1M", 10**6),
        ("-3", -3),
        (".5", Decimal("0.5")),
        ("5.", 5),
        (4, 4),
        (0.1, Decimal("0.1")),
    ],
)
def test_parses_what_the_api_server_does(text: str | float, value: Decimal) -> None:
    assert quantity.parse(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1gi", "1Ki2", "abc", "1e", "--1", "0x10"])
def test_refuses_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)


def test_gib_is_binary() -> None:
    assert quantity.gib("80Gi") == 80.0
    assert quantity.gib("512Mi") == 0.5
    assert quantity.gib("1G") == pytest.approx(0.9313, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.5"), "500m"),
        (85899345920, "80Gi"),
        (1024**2 * 100, "100Mi"),
        (110, "110"),
        (0, "0"),
        (Decimal("0.0000001"), "100n"),
        (1024, "1024"),
    ],
)
def test_fmt_is_short(value: Decimal | int, text: str) -> None:
    assert quantity.fmt(value) == text


@given(st.decimals(min_value=0, max_value=10**15, places=9))
def test_fmt_loses_nothing_down_to_a_billionth(value: Decimal) -> None:
    assert quantity.parse(quantity.fmt(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("007", 7), ("", None), ("-1", None), ("1.5", None), ("٣", None), ("²", None)],
)
def test_counts_as_annotations_have_them(text, expected):
    assert quantity.count(text) == expected
