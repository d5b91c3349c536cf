"""How many nodes budgets allow to be disrupted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apis.karpenter.v1.nodepool import Budget
from gpu_provisioner.nodepool import budgets

NIGHT = {"schedule": "0 22 * * *", "duration": "8h"}


@pytest.mark.parametrize(
    ("given", "hour", "allowed"),
    [
        pytest.param([], 12, 10, id="no budget"),
        pytest.param([{"nodes": "3"}], 12, 3, id="a number"),
        pytest.param([{"nodes": "11%"}], 12, 2, id="a share is rounded up"),
        pytest.param([{"nodes": "0%"}], 12, 0, id="nothing"),
        pytest.param([{"nodes": "100%"}], 12, 10, id="all"),
        pytest.param([{"nodes": "5"}, {"nodes": "2"}], 12, 2, id="the strictest"),
        pytest.param([{"nodes": "0", "reasons": ["Empty"]}], 12, 10, id="another reason"),
        pytest.param([{"nodes": "0", "reasons": ["Drifted"]}], 12, 0, id="its reason"),
        pytest.param([{"nodes": "0", **NIGHT}], 12, 10, id="out of its hours"),
        pytest.param([{"nodes": "0", **NIGHT}], 23, 0, id="in its hours"),
        pytest.param([{"nodes": "0", **NIGHT}], 5, 0, id="in its hours, over midnight"),
        pytest.param([{"nodes": "0", **NIGHT}], 6, 10, id="its end is out"),
        pytest.param([{"nodes": "0", **NIGHT}], 22, 0, id="its beginning is in"),
        pytest.param(
            [{"nodes": "9", "schedule": "every now and then", "duration": "1h"}],
            12,
            0,
            id="a schedule that cannot be read",
        ),
    ],
)
def test_allowed(given: list[dict[str, Any]], hour: int, allowed: int) -> None:
    read = [Budget.model_validate(each) for each in given]
    now = datetime(2026, 1, 1, hour, tzinfo=UTC)
    assert budgets.allowed(read, "Drifted", 10, now) == allowed
