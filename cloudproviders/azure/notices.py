"""Notices of Azure that AKS's node-problem-detector leaves on the Node. Pure.

learn.microsoft.com/azure/aks/node-problem-detector: condition VMEventScheduled, the kind of event
as its reason; Karpenter's Azure provider waits for PreemptionScheduled.
"""

from __future__ import annotations

from datetime import timedelta

from cloudproviders.provider import Interruption
from kube.meta import Condition
from kube.objects import Node

SPOT_NOTICE = timedelta(seconds=30)
"""What Azure promises at least (learn.microsoft.com/azure/virtual-machines/spot-vms)."""

PREEMPTION = "PreemptionScheduled"
EVENT = "VMEventScheduled"

_SPOT = frozenset({"PreemptScheduled", "PreemptionScheduled", "Preempt"})
_ADVISORY = frozenset({"FreezeScheduled", "RebootScheduled", "Freeze", "Reboot"})
"""The machine stays, and is the same afterwards."""


def interruption(node: Node) -> Interruption | None:
    """The most urgent notice that stands on the Node."""
    standing = {each.type: each for each in node.status.conditions if each.status == "True"}
    if (preempted := standing.get(PREEMPTION)) is not None:
        return _spot(node, preempted)
    scheduled = standing.get(EVENT)
    if scheduled is None:
        return None
    if scheduled.reason in _SPOT:
        return _spot(node, scheduled)
    return Interruption(
        kind="scheduled_change",
        provider_id=node.spec.provider_id,
        message=scheduled.message or f"Azure has scheduled: {scheduled.reason}",
        advisory=scheduled.reason in _ADVISORY,
        sent=scheduled.last_transition_time,
    )


def _spot(node: Node, told: Condition) -> Interruption:
    since = told.last_transition_time
    return Interruption(
        kind="spot_interrupted",
        provider_id=node.spec.provider_id,
        message=told.message or "Azure takes the spot machine back",
        deadline=since + SPOT_NOTICE if since else None,
        sent=since,
    )
