"""The deadline that is stamped on a claim."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner import deadline
from tests.fakes import objects

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def stamped(text: str) -> NodeClaim:
    claim = objects.claim()
    claim.metadata.annotations["karpenter.sh/nodeclaim-termination-timestamp"] = text
    return claim


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T12:00:00Z", NOON),
        ("2026-01-01T14:00:00+02:00", NOON),
        ("2026-01-01T12:00:00", NOON),
        ("soon", None),
        ("", None),
    ],
)
def test_what_stands_there(text: str, moment: datetime | None) -> None:
    assert deadline.of(stamped(text)) == moment


def test_a_node_without_a_claim_has_none() -> None:
    assert deadline.of(None) is None


def test_it_is_written_in_whole_seconds_of_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5))) + timedelta(milliseconds=900)
    assert deadline.stamp(there) == "2026-01-01T12:00:00Z"
