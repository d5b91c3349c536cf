"""What is wrong with a pool that the API server let pass, under whichever CRD. Pure."""

from __future__ import annotations

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.nodepool import NodePool
from apis.karpenter.v1.validation import refusals
from gpu_provisioner import cron
from gpu_provisioner.nodepool.said import YES, Said

LONGEST_NAME = 63
"""Of a label's value: the pool's name stands on its claims and nodes."""


def valid(pool: NodePool) -> Said:
    errors = [str(each) for each in refusals(_plain(pool))]
    if len(pool.metadata.name) > LONGEST_NAME:
        errors.append(f"metadata.name: more than {LONGEST_NAME} characters, and so no label")
    for at, budget in enumerate(pool.spec.disruption.budgets):
        try:
            cron.parse(budget.schedule or "@daily")
        except ValueError as wrong:
            errors.append(f"spec.disruption.budgets[{at}].schedule: {wrong}")
    return Said("False", c.NODE_POOL_VALIDATION_FAILED, "; ".join(errors)) if errors else YES


def _plain(pool: NodePool) -> dict[str, object]:
    """As its author wrote it."""
    return {
        "apiVersion": pool.api_version,
        "kind": pool.kind,
        "metadata": {"name": pool.metadata.name},
        "spec": pool.spec.to_json(),
    }
