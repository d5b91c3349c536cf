"""Launched: an instance exists for the claim, or the reason why not."""

from __future__ import annotations

import msgspec

from apis.karpenter.v1 import labels
from apis.karpenter.v1.conditions import LAUNCH_FAILED, LAUNCHED
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.requirements import Requirements
from cloudproviders.errors import (
    CloudError,
    CreateError,
    InsufficientCapacityError,
    NodeClassNotReadyError,
)
from cloudproviders.provider import CloudProvider, Instance, Pending
from gpu_provisioner import events
from gpu_provisioner.nodeclaim.step import GiveUp, Progress, affirmed
from kube.clock import Clock
from kube.errors import KubeError
from kube.transport import NETWORK_ERRORS

MESSAGE_LIMIT = 300
"""Characters of an error's text on a claim, as Karpenter cuts it."""


class Launch:
    """Asks the cloud until it has said yes once; the instance's facts then stand on the claim."""

    def __init__(self, cloud: CloudProvider, clock: Clock) -> None:
        self._cloud = cloud
        self._clock = clock

    async def __call__(self, claim: NodeClaim, /) -> Progress:
        now = self._clock.now()
        if claim.condition(LAUNCHED).status != "Unknown":
            return Progress(affirmed(claim, LAUNCHED, now))
        try:
            instance = await self._cloud.create(claim)  # idempotent on the claim's uid
        except InsufficientCapacityError as refused:
            return self._give_up(claim, refused, "insufficient_capacity")
        except NodeClassNotReadyError as refused:
            return self._give_up(claim, refused, "nodeclass_not_ready")
        except CreateError as refused:
            return self._failed(claim, refused.reason, refused)
        except (CloudError, KubeError, *NETWORK_ERRORS) as failed:
            return self._failed(claim, LAUNCH_FAILED, failed)
        if isinstance(instance, Pending):
            told = claim.with_condition(
                LAUNCHED, "Unknown", instance.reason, cut(instance.message), now=now
            )
            return Progress(told, look_again=instance.look_again)
        return Progress(hydrate(claim, instance).with_condition(LAUNCHED, "True", now=now))

    def _give_up(self, claim: NodeClaim, refused: CloudError, reason: str) -> Progress:
        """Whoever asked may ask for another shape; the reason is left where he will look."""
        event = {
            "insufficient_capacity": events.INSUFFICIENT_CAPACITY,
            "nodeclass_not_ready": events.NODE_CLASS_NOT_READY,
        }[reason]
        told = self._failed(claim, event, refused).claim
        return Progress(told, give_up=GiveUp(reason, event, cut(str(refused))))

    def _failed(self, claim: NodeClaim, reason: str, failure: Exception) -> Progress:
        told = claim.with_condition(
            LAUNCHED, "Unknown", reason, cut(str(failure)), now=self._clock.now()
        )
        return Progress(told, failure=failure)


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
    annotations = {**claim.metadata.annotations, **instance.annotations}
    metadata = msgspec.structs.replace(claim.metadata, labels=hydrated, annotations=annotations)
    status = claim.status.model_copy(
        update={
            "provider_id": instance.provider_id,
            "image_id": instance.image_id,
            "capacity": dict(instance.capacity),
            "allocatable": dict(instance.allocatable),
        }
    )
    return claim.model_copy(update={"metadata": metadata, "status": status})


def _placement(instance: Instance) -> dict[str, str]:
    known = {
        labels.INSTANCE_TYPE_LABEL: instance.instance_type,
        labels.ZONE_LABEL: instance.zone,
        labels.CAPACITY_TYPE_LABEL: instance.capacity_type,
    }
    return {label: value for label, value in known.items() if value}


def cut(text: str) -> str:
    """As much of a text as a claim's condition has room for."""
    return text if len(text) <= MESSAGE_LIMIT else text[:MESSAGE_LIMIT] + "..."
