"""Launch, register, initialize a claim, or give it up in time; or see it out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from apis.karpenter.v1 import labels
from apis.karpenter.v1.conditions import INITIALIZED, LAUNCHED, REGISTERED
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from gpu_provisioner import events, metrics
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodeclaim.step import GiveUp, Progress, Step
from kube import tracing
from kube.controller import Result
from kube.errors import KubeError
from kube.meta import Condition

logger = logging.getLogger(__name__)


class _Termination(Protocol):
    async def reconcile(self, claim: NodeClaim, /) -> Result: ...


class NodeClaimLifecycle:
    """One round: finalizer, every step, one save. The steps decide, this acts."""

    def __init__(
        self,
        claims: Claims,
        steps: Sequence[Step],
        termination: _Termination,
        recorder: events.Events,
    ) -> None:
        self._claims = claims
        self._steps = tuple(steps)
        self._termination = termination
        self._recorder = recorder

    async def reconcile(self, claim: NodeClaim) -> Result:
        claim = self._claims.latest(claim)
        if claim.deleting:
            return await self._termination.reconcile(claim)

        if labels.TERMINATION_FINALIZER not in claim.metadata.finalizers:
            # Stored before any instance can exist, or a crash here leaks it.
            claim = await self._claims.ensure_finalizer(claim)
            self._count_created(claim)
        elif claim.condition(LAUNCHED).status == "Unknown":
            # A machine bought for a claim that has just been given up would be bought for nothing.
            await self._claims.confirm(claim)

        before, waits, failures = claim, [], []
        for step in self._steps:
            progress = await self._attempt(step, claim)
            claim = progress.claim
            waits.append(progress.look_again)
            if progress.failure is not None:
                failures.append(progress.failure)
            if progress.give_up is not None:
                saved = await self._claims.tell(before, claim)
                await self._give_up(saved, progress.give_up)
                return Result()

        await self._claims.save(before, claim)
        self._tell_transitions(before, claim)
        self._tell_failure(before, claim, failures)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ExceptionGroup("nodeclaim.lifecycle", failures)
        return Result.soonest(waits)

    def _tell_transitions(self, before: NodeClaim, after: NodeClaim) -> None:
        """The history that `kubectl describe` shows, in the words of Karpenter's own."""
        for condition in after.status.conditions:
            was = before.condition(condition.type).status
            if condition.status != was:
                message = (
                    f"Status condition transitioned, Type: {condition.type}, "
                    f"Status: {was} -> {condition.status}, Reason: {condition.reason}"
                )
                message += f", Message: {condition.message}" if condition.message else ""
                self._recorder.event(
                    NODE_CLAIMS, after.metadata, events.NORMAL, condition.type, message
                )
                if condition.status == "True":
                    _log_step(after, condition)

    def _tell_failure(
        self, before: NodeClaim, after: NodeClaim, failures: Sequence[Exception]
    ) -> None:
        """Why there is no machine yet, once for each reason: not again with every try."""
        said, was = after.condition(LAUNCHED), before.condition(LAUNCHED)
        if failures and said.status == "Unknown" and said.reason != was.reason:
            self._recorder.event(
                NODE_CLAIMS, after.metadata, events.WARNING, said.reason, said.message
            )

    async def _attempt(self, step: Step, claim: NodeClaim) -> Progress:
        """A write that is refused keeps neither what came before nor what follows from its own."""
        try:
            return await step(claim)
        except KubeError as refused:
            return Progress(claim, failure=refused)

    async def _give_up(self, claim: NodeClaim, why: GiveUp) -> None:
        logger.warning(
            "giving up claim %s: %s: %s",
            claim.metadata.name,
            why.reason,
            why.message,
            extra={"nodeclaim": claim.metadata.name, "reason": why.reason},
        )
        self._recorder.event(NODE_CLAIMS, claim.metadata, events.WARNING, why.event, why.message)
        await self._claims.delete(claim)
        count_disrupted(claim, why.reason)

    def _count_created(self, claim: NodeClaim) -> None:
        relaxed = claim.metadata.annotations.get(labels.MIN_VALUES_RELAXED_ANNOTATION, "false")
        metrics.CLAIMS_CREATED.labels(
            "provisioned", metrics.nodepool(claim.metadata), relaxed
        ).inc()


_STEPS = {
    LAUNCHED: ("launched nodeclaim", "nodeclaim.launch", ""),
    REGISTERED: ("registered nodeclaim", "nodeclaim.register", LAUNCHED),
    INITIALIZED: ("initialized nodeclaim", "nodeclaim.initialize", REGISTERED),
}
"""Of a condition that has come true: Karpenter's line, our span, and what it was waited for since;
the first since the claim was made."""


def _log_step(claim: NodeClaim, condition: Condition) -> None:
    """Called once for each, after it is stored: a conflict would have ended the round."""
    if condition.type not in _STEPS or condition.last_transition_time is None:
        return
    line, span, before = _STEPS[condition.type]
    known = claim.metadata.labels
    extra = {
        "nodeclaim": claim.metadata.name,
        "provider_id": claim.status.provider_id,
        "instance_type": known.get(labels.INSTANCE_TYPE_LABEL),
        "zone": known.get(labels.ZONE_LABEL),
        "capacity_type": known.get(labels.CAPACITY_TYPE_LABEL),
        "node": claim.status.node_name,
    }
    told = {name: value for name, value in extra.items() if value}
    logger.info(line, extra=told)
    since = claim.metadata.creation_timestamp
    if before:
        since = claim.condition(before).last_transition_time
    tracing.waited(span, since, condition.last_transition_time, told)


def count_disrupted(claim: NodeClaim, reason: str) -> None:
    metrics.CLAIMS_DISRUPTED.labels(
        reason,
        metrics.nodepool(claim.metadata),
        metrics.capacity_type(claim.metadata),
        "",
        "forceful",
    ).inc()
