"""How many nodes of a pool may be disrupted at once, and now. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from apis.karpenter.v1.nodepool import Budget
from gpu_provisioner import cron, duration

DRIFTED = "Drifted"


def allowed(budgets: Iterable[Budget], reason: str, nodes: int, now: datetime) -> int:
    """By the strictest budget that holds now and for that reason; all `nodes` where none does."""
    limits = (
        _limit(budget, nodes)
        for budget in budgets
        if (not budget.reasons or reason in budget.reasons) and _holds(budget, now)
    )
    return min((nodes, *limits))


def _limit(budget: Budget, nodes: int) -> int:
    """A share is rounded up; a schedule that cannot be read allows nothing."""
    if budget.schedule is not None and not _readable(budget.schedule):
        return 0
    if budget.nodes.endswith("%"):
        return -(-nodes * int(budget.nodes[:-1]) // 100)
    return int(budget.nodes)


def _holds(budget: Budget, now: datetime) -> bool:
    lasting = duration.parse(budget.duration or "")
    if budget.schedule is None or lasting is None or not _readable(budget.schedule):
        return True
    begun = cron.parse(budget.schedule).next(now - lasting)
    return begun is not None and begun <= now


def _readable(schedule: str) -> bool:
    try:
        cron.parse(schedule)
    except ValueError:
        return False
    return True
