"""EventBridge's bodies, and what they come to."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudproviders.aws import interruption

AT = "2026-01-01T00:00:00Z"
THEN = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: str, **detail: Any) -> str:
    body = {"version": "0", "id": "e", "detail-type": kind, "source": "aws.ec2", "time": AT}
    return json.dumps({**body, "resources": [], "detail": detail})


SPOT = "EC2 Spot Instance Interruption Warning"
STATE = "EC2 Instance State-change Notification"
HEALTH = "AWS Health Event"


@pytest.mark.parametrize(
    ("body", "kind", "deadline", "advisory"),
    [
        pytest.param(
            event(SPOT, **{"instance-id": "i-1", "instance-action": "terminate"}),
            "spot_interrupted",
            THEN + timedelta(minutes=2),
            False,
            id="spot",
        ),
        pytest.param(
            event("EC2 Instance Rebalance Recommendation", **{"instance-id": "i-1"}),
            "rebalance_recommendation",
            None,
            True,
            id="rebalance",
        ),
        pytest.param(
            event(
                "EC2 Capacity Reservation Instance Interruption Warning", **{"instance-id": "i-1"}
            ),
            "capacity_reservation_interrupted",
            THEN + timedelta(minutes=2),
            False,
            id="reservation",
        ),
        pytest.param(
            event(STATE, **{"instance-id": "i-1", "state": "stopping"}),
            "instance_stopped",
            THEN,
            False,
            id="stopping",
        ),
        pytest.param(
            event(STATE, **{"instance-id": "i-1", "state": "terminated"}),
            "instance_terminated",
            THEN,
            False,
            id="terminated",
        ),
        pytest.param(
            event(
                HEALTH,
                service="EC2",
                eventTypeCategory="scheduledChange",
                eventTypeCode="AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED",
                affectedEntities=[{"entityValue": "i-1"}],
            ),
            "scheduled_change",
            None,
            False,
            id="health",
        ),
    ],
)
def test_notices_that_ask_for_something(
    body: str, kind: str, deadline: datetime | None, advisory: bool
) -> None:
    notice = interruption.parse(body)

    assert notice is not None
    assert (notice.kind, notice.instances) == (kind, ("i-1",))
    assert (notice.deadline, notice.advisory, notice.sent) == (deadline, advisory, THEN)
    assert notice.message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(event(STATE, **{"instance-id": "i-1", "state": "running"}), id="running"),
        pytest.param(event(HEALTH, service="RDS", eventTypeCategory="scheduledChange"), id="rds"),
        pytest.param(event(HEALTH, service="EC2", eventTypeCategory="issue"), id="issue"),
        pytest.param(event("EC2 Fleet Error"), id="something else"),
    ],
)
def test_notices_that_ask_for_nothing(body: str) -> None:
    assert interruption.parse(body) is None


@pytest.mark.parametrize("body", ["", "hello", "[]", '{"detail-type": "x"}'])
def test_what_is_no_event_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="not an event"):
        interruption.parse(body)
