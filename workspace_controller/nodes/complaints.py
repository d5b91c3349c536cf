"""What NodeClaims say of themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from apis.kaito.v1beta1 import conditions as c
from apis.karpenter.v1 import conditions as kc
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Condition
from workspace_controller import messages

_STAGES = (kc.LAUNCHED, kc.REGISTERED, kc.INITIALIZED)


def is_ready(claim: NodeClaim) -> bool:
    """Ready; providers that write no conditions at all say it by naming the node."""
    if any(condition.type == kc.READY for condition in claim.status.conditions):
        return claim.is_true(kc.READY)
    return bool(claim.status.node_name)


def first(claims: Iterable[NodeClaim]) -> Condition | None:
    """The first stage that a claim has not passed, in its own words; a word that only says
    that nobody has looked yet is no complaint."""
    for claim in sorted(claims, key=lambda claim: claim.metadata.name):
        for stage in _STAGES:
            condition = claim.condition(stage)
            if condition.status == "True":
                continue
            if condition.message and condition.reason != kc.AWAITING_RECONCILIATION:
                return Condition(
                    type=stage,
                    status="False",
                    reason=condition.reason or c.REASON_NODE_CLAIM_NOT_READY,
                    message=messages.cut(condition.message),
                )
            break
    return None


def claims_ready(ready: int, wanted: int, said: Condition | None) -> Condition:
    """NodeClaimReady: enough claims are Ready, or what was said of one that is not."""
    if ready >= wanted:
        return Condition(
            type=c.NODE_CLAIM_READY,
            status="True",
            reason=c.REASON_NODE_CLAIMS_READY,
            message="Enough NodeClaims are ready",
        )
    return Condition(
        type=c.NODE_CLAIM_READY,
        status="False",
        reason=said.reason if said else c.REASON_NODE_CLAIM_NOT_READY,
        message=said.message if said else f"{ready} of {wanted} NodeClaims are ready",
    )
