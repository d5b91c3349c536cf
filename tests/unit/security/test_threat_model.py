"""The threat model's facts: what it names as shown is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs/security" / f"{name}.md" for name in ("threat-model", "supply-chain")]
PLACES = re.compile(
    r"`((?:tests|kube|oci|hub|apis|presets|images|charts|localcluster|cloudproviders|gpu_provisioner"
    r"|workspace_controller|\.github)/[\w./-]+)`"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = set(PLACES.findall(page.read_text()))
    assert len(named) > 5
    assert {place for place in named if not (ROOT / place).exists()} == set()


def test_every_threat_has_what_stops_it_and_what_shows_it() -> None:
    text = PAGES[0].read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| T-")]
    assert [row[0] for row in rows] == [f"| T-{number}" for number in range(1, len(rows) + 1)]
    for row in rows:
        assert len(row) == 6, row[0]
        assert PLACES.search(row[5]), row[0]
    boundaries = set(re.findall(r"\bB\d\b", text.partition("## Threats")[2]))
    assert boundaries >= {"B1", "B3", "B4", "B5", "B6", "B7", "B8", "B9"}
