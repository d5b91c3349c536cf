"""The table of rules and the suite are one: no rule without a test, no test without a rule."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conformance.cloudprovider.suite import CloudProviderConformance
from tests.conformance.cloudprovider.world import Ability

CONTRACT = Path(__file__).parents[3] / "docs" / "contracts" / "cloudprovider.md"
ROW = re.compile(r"^\| (CP-\d\d) \| .+ \| `(test_\w+)` \| (\w*) ?\|$", re.MULTILINE)


def test_every_rule_has_its_test_and_every_test_its_rule() -> None:
    rows = ROW.findall(CONTRACT.read_text("utf-8"))
    suite = [name for name in dir(CloudProviderConformance) if name.startswith("test_")]

    assert [rule for rule, _, _ in rows] == [f"CP-{n:02}" for n in range(1, len(rows) + 1)]
    assert sorted(test for _, test, _ in rows) == sorted(suite)
    assert {ability for _, _, ability in rows} <= {"", *(each.name for each in Ability)}
