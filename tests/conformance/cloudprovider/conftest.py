"""The suite's assertions tell what they compared, though its modules are not named test_*."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(f"{__package__}.{name}" for name in ("faults", "identity", "launch", "refusals", "world"))
)
