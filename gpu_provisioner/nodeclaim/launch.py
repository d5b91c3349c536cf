"""Launched: an instance exists for the claim, or the reason why not."""

from __future__ import annotations

import msgspec

from apis.karpenter.v1 import labels
from apis.karpenter.v1.conditions import INSTANCE_ORDERED, LAUNCH_FAILED, LAUNCHED
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.requirements import Requirements
from cloudproviders.errors import (
    CloudError,
    CreateError,
    InsufficientCapacityError,
    NodeClassNotReadyError,
)
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import CloudProvider, Instance, Pending
from gpu_provisioner import events
from gpu_provisioner.nodeclaim.readiness import NodeClasses, stamps
from gpu_provisioner.nodeclaim.step import GiveUp, Progress, Reason, affirmed
from kube.clock import Clock
from kube.errors import KubeError
from kube.transport import NETWORK_ERRORS

MESSAGE_LIMIT = 300
"""Characters of an error's text on a claim, as Karpenter cuts it."""
REASONS_LIMIT = 1000
"""Of what a provider says on purpose: every rung of a ladder, which quota, and what to do about it.
An Event has room for 1,024."""
SAME_WORDS_SECONDS = 15.0
"""Within which a message that changes with every look (seconds, request ids) stays as written."""
READINESS_SECONDS = 10.0
"""Until a node class that nobody has judged is looked at again; its judgement wakes us sooner."""


class Launch:
    """Asks the cloud until it has said yes once; the instance's facts then stand on the claim."""

    def __init__(self, cloud: CloudProvider, node_classes: NodeClasses, clock: Clock) -> None:
        self._cloud = cloud
        self._node_classes = node_classes
        self._clock = clock
        self._worded: dict[str, float] = {}
        """When the message of Launched was last changed, by uid. Forgetting costs a write."""

    async def __call__(self, claim: NodeClaim, /) -> Progress:
        if claim.condition(LAUNCHED).status != "Unknown":
            return Progress(affirmed(claim, LAUNCHED, self._clock.now()))
        try:
            return await self._launch(claim)
        except InsufficientCapacityError as refused:
            return self._give_up(
                claim, refused, "insufficient_capacity", events.INSUFFICIENT_CAPACITY
            )
        except NodeClassNotReadyError as refused:
            return self._give_up(claim, refused, "nodeclass_not_ready", events.NODE_CLASS_NOT_READY)
        except CreateError as refused:
            refuted = claim.without_condition(INSTANCE_ORDERED)
            message = cut(refused.message, REASONS_LIMIT)
            return Progress(self._told(refuted, refused.reason, message), failure=refused)
        except (CloudError, KubeError, *NETWORK_ERRORS) as failed:
            text = cut(str(failed) or type(failed).__name__)
            return Progress(self._told(claim, LAUNCH_FAILED, text), failure=failed)
        except Exception as failed:  # noqa: BLE001 - a provider's own mistake: told, raised, timed out
            text = f"unexpected {type(failed).__name__}: see the provisioner's log"
            return Progress(self._told(claim, LAUNCH_FAILED, text), failure=failed)

    async def _launch(self, claim: NodeClaim) -> Progress:
        """What has been ordered comes, whatever becomes of the class that it was ordered by."""
        node_class: NodeClass | Reason | None = None
        if not claim.is_true(INSTANCE_ORDERED):
            node_class = await self._node_classes.of(claim)
        if isinstance(node_class, Reason):
            told = self._told(claim, node_class.reason, node_class.message)
            return Progress(told, look_again=READINESS_SECONDS)

        outcome = await self._cloud.create(claim)  # idempotent on the claim's uid
        if node_class is not None:
            claim = _annotated(claim, stamps(claim, node_class))
        now = self._clock.now()
        if isinstance(outcome, Pending):
            told = self._told(claim, outcome.reason, cut(outcome.message, REASONS_LIMIT))
            told = told.with_condition(INSTANCE_ORDERED, "True", now=now)
            return Progress(told, look_again=outcome.look_again)
        self._worded.pop(claim.metadata.uid, None)
        hydrated = hydrate(claim, outcome).without_condition(INSTANCE_ORDERED)
        return Progress(hydrated.with_condition(LAUNCHED, "True", now=now))

    def _give_up(self, claim: NodeClaim, refused: CloudError, reason: str, event: str) -> Progress:
        """Whoever asked may ask for another shape; the reason is left where he will look."""
        self._worded.pop(claim.metadata.uid, None)
        message = cut(str(refused), REASONS_LIMIT)
        told = claim.with_condition(LAUNCHED, "Unknown", event, message, now=self._clock.now())
        return Progress(told, give_up=GiveUp(reason, event, message))

    def _told(self, claim: NodeClaim, reason: str, message: str) -> NodeClaim:
        said = claim.condition(LAUNCHED)
        if said.reason == reason and said.message != message and not self._may_reword(claim):
            message = said.message
        if (said.reason, said.message) != (reason, message):
            self._worded[claim.metadata.uid] = self._clock.monotonic()
        return claim.with_condition(LAUNCHED, "Unknown", reason, message, now=self._clock.now())

    def _may_reword(self, claim: NodeClaim) -> bool:
        long_ago = self._clock.monotonic() - SAME_WORDS_SECONDS
        self._worded = {uid: at for uid, at in self._worded.items() if at > long_ago}
        return claim.metadata.uid not in self._worded


def hydrate(claim: NodeClaim, instance: Instance) -> NodeClaim:
    """The claim with what is known of its instance; labels that it came with win."""
    ref = claim.spec.node_class_ref
    hydrated = {
        **Requirements.of(claim.spec.requirements).labels(),
        **instance.labels,
        **_placement(instance),
        labels.node_class_label(ref.group, ref.kind): ref.name,
        **claim.metadata.labels,
    }
    metadata = msgspec.structs.replace(claim.metadata, labels=hydrated)
    status = claim.status.model_copy(
        update={
            "provider_id": instance.provider_id,
            "image_id": instance.image_id,
            "capacity": dict(instance.capacity),
            "allocatable": dict(instance.allocatable),
        }
    )
    hydrated_claim = claim.model_copy(update={"metadata": metadata, "status": status})
    return _annotated(hydrated_claim, dict(instance.annotations))


def _annotated(claim: NodeClaim, added: dict[str, str]) -> NodeClaim:
    annotations = {**claim.metadata.annotations, **added}
    metadata = msgspec.structs.replace(claim.metadata, annotations=annotations)
    return claim.model_copy(update={"metadata": metadata})


def _placement(instance: Instance) -> dict[str, str]:
    known = {
        labels.INSTANCE_TYPE_LABEL: instance.instance_type,
        labels.ZONE_LABEL: instance.zone,
        labels.CAPACITY_TYPE_LABEL: instance.capacity_type,
    }
    return {label: value for label, value in known.items() if value}


def cut(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """As much of a text as a claim's condition has room for."""
    return text if len(text) <= limit else text[:limit] + "..."
