"""How many rows are kept from the training, to measure with what it has brought."""

from __future__ import annotations

from tuning.failures import DataError

SHARE = 0.1
MOST = 200
"""Rows, where the user says nothing. The mean loss of 200 rows is known to a few per cent, and more
of them are evaluated twice for as long as the training takes."""
LEAST = 5
"""Rows of which one can be spared."""


def held_out(rows: int, train_share: float | None) -> int:
    """Of so many rows. `train_share` is DatasetConfig.train_test_split: 1 holds nothing out, None
    a tenth and at most MOST. DataError where nothing would be left on one of the two sides."""
    if train_share is None:
        return min(MOST, max(1, round(rows * SHARE))) if rows >= LEAST else 0
    if train_share == 1:
        return 0
    kept = max(1, round(rows * (1 - train_share)))
    if kept >= rows:
        raise DataError(
            f"{rows} row(s) cannot be split by training_config.DatasetConfig.train_test_split"
            f" {train_share:g}: nothing would be left to train with; give more rows, or set it to 1"
        )
    return kept
