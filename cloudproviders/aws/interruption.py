"""EventBridge's notices, through an SQS queue: what AWS will do to machines, and has done.

Bodies: docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html and
…/monitoring-instance-state-changes.html; docs.aws.amazon.com/health/latest/ug/aws-health-events.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from cloudproviders.aws.sdk import Amazon, Wire
from cloudproviders.provider import Interruption

SPOT_NOTICE = timedelta(minutes=2)
"""From the notice until EC2 takes a spot machine."""

VISIBILITY_SECONDS = 20
WAIT_SECONDS = 10
"""Of a long poll: for so long a process that is told to stop has to wait."""

MOST_MESSAGES = 10

SPOT_INTERRUPTED = "spot_interrupted"
RESERVATION_INTERRUPTED = "capacity_reservation_interrupted"

_ENDS = {
    "stopping": "instance_stopped",
    "stopped": "instance_stopped",
    "shutting-down": "instance_terminated",
    "terminated": "instance_terminated",
}

logger = logging.getLogger(__name__)


class _Entity(msgspec.Struct, frozen=True):
    entityValue: str = ""  # noqa: N815  the wire's


class _Detail(msgspec.Struct, frozen=True, rename={"instance_id": "instance-id"}):
    instance_id: str = ""
    state: str = ""
    service: str = ""
    eventTypeCategory: str = ""  # noqa: N815  the wire's
    eventTypeCode: str = ""  # noqa: N815  the wire's
    affectedEntities: tuple[_Entity, ...] = ()  # noqa: N815  the wire's


class _Event(msgspec.Struct, frozen=True, rename={"detail_type": "detail-type"}):
    detail_type: str
    time: datetime
    detail: _Detail = _Detail()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Of one event; `instances` are EC2's ids."""

    kind: str
    instances: tuple[str, ...]
    message: str
    sent: datetime
    deadline: datetime | None = None
    advisory: bool = False


def parse(body: str) -> Notice | None:
    """None for an event that asks for nothing; ValueError for a body that is none."""
    try:
        event = msgspec.json.decode(body, type=_Event)
    except msgspec.MsgspecError as wrong:
        raise ValueError(f"not an event: {wrong}") from wrong
    read = _READERS.get(event.detail_type)
    return read(event) if read else None


def _spot(event: _Event) -> Notice:
    return Notice(
        kind=SPOT_INTERRUPTED,
        instances=(event.detail.instance_id,),
        message="EC2 takes the spot instance back",
        sent=event.time,
        deadline=event.time + SPOT_NOTICE,
    )


def _rebalance(event: _Event) -> Notice:
    return Notice(
        kind="rebalance_recommendation",
        instances=(event.detail.instance_id,),
        message="EC2 says that the spot instance is at an elevated risk of being taken back",
        sent=event.time,
        advisory=True,
    )


def _reservation(event: _Event) -> Notice:
    return Notice(
        kind=RESERVATION_INTERRUPTED,
        instances=(event.detail.instance_id,),
        message="the capacity reservation of the instance is taken back",
        sent=event.time,
        deadline=event.time + SPOT_NOTICE,
    )


def _state(event: _Event) -> Notice | None:
    kind = _ENDS.get(event.detail.state.lower())
    if kind is None:
        return None
    return Notice(
        kind=kind,
        instances=(event.detail.instance_id,),
        message=f"EC2 says that the instance is {event.detail.state.lower()}",
        sent=event.time,
        deadline=event.time,  # nobody is left to drain
    )


def _health(event: _Event) -> Notice | None:
    detail = event.detail
    if (detail.service, detail.eventTypeCategory) != ("EC2", "scheduledChange"):
        return None
    return Notice(
        kind="scheduled_change",
        instances=tuple(entity.entityValue for entity in detail.affectedEntities),
        message=f"AWS Health has scheduled a change: {detail.eventTypeCode}",
        sent=event.time,
    )


_READERS: Mapping[str, Callable[[_Event], Notice | None]] = {
    "EC2 Spot Instance Interruption Warning": _spot,
    "EC2 Instance Rebalance Recommendation": _rebalance,
    "EC2 Capacity Reservation Instance Interruption Warning": _reservation,
    "EC2 Instance State-change Notification": _state,
    "AWS Health Event": _health,
}
"""By `detail-type`."""


class Queue:
    """Messages of one SQS queue, as interruptions of the machines that `find` knows."""

    def __init__(
        self,
        amazon: Amazon,
        name: str,
        find: Callable[[str], Awaitable[str]],
        *,
        wait_seconds: int | None = None,
    ) -> None:
        """`find`: instance id → provider id, "" for a machine that is not ours."""
        self._amazon = amazon
        self._name = name
        self._find = find
        self._wait_seconds = WAIT_SECONDS if wait_seconds is None else wait_seconds

    async def notices(self) -> AsyncGenerator[Interruption, None]:
        """For ever; raises what the queue raises. What is not acknowledged comes again."""
        url = (await self._amazon.call("get_queue_url", QueueName=self._name))["QueueUrl"]
        while True:
            answer = await self._amazon.poll(
                "receive_message",
                QueueUrl=url,
                MaxNumberOfMessages=MOST_MESSAGES,
                VisibilityTimeout=VISIBILITY_SECONDS,
                WaitTimeSeconds=self._wait_seconds,
            )
            for message in answer.get("Messages", ()):
                for interruption in await self._read(url, message):
                    yield interruption

    async def _read(self, url: str, message: Wire) -> list[Interruption]:
        """What a message says of machines of ours; one that says nothing of them is deleted."""
        receipt = message["ReceiptHandle"]
        try:
            notice = parse(message["Body"])
        except ValueError as wrong:
            logger.warning("message %s is dropped: %s", message.get("MessageId"), wrong)
            notice = None
        found = [] if notice is None else [await self._find(id) for id in notice.instances]
        ours = [provider_id for provider_id in found if provider_id]
        if notice is None or not ours:
            await self._delete(url, receipt)
            return []
        left = set(ours)

        async def acknowledge(provider_id: str) -> None:
            left.discard(provider_id)
            if not left:
                await self._delete(url, receipt)

        return [_interruption(notice, each, acknowledge) for each in ours]

    async def _delete(self, url: str, receipt: str) -> None:
        await self._amazon.call("delete_message", QueueUrl=url, ReceiptHandle=receipt)


def _interruption(
    notice: Notice, provider_id: str, acknowledge: Callable[[str], Awaitable[None]]
) -> Interruption:
    return Interruption(
        kind=notice.kind,
        provider_id=provider_id,
        message=notice.message,
        deadline=notice.deadline,
        advisory=notice.advisory,
        sent=notice.sent,
        acknowledge=lambda: acknowledge(provider_id),
    )
