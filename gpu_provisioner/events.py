"""The events that users see on claims, nodes and pods; reasons as Karpenter spells them."""

from __future__ import annotations

from typing import Any, Protocol

from kube.meta import ObjectMeta, Resource

INSUFFICIENT_CAPACITY = "InsufficientCapacityError"
NODE_CLASS_NOT_READY = "NodeClassNotReady"
UNREGISTERED_TAINT_MISSING = "UnregisteredTaintMissing"
TERMINATION_GRACE_PERIOD_EXPIRING = "TerminationGracePeriodExpiring"
FAILED_DRAINING = "FailedDraining"
AWAITING_VOLUME_DETACHMENT = "AwaitingVolumeDetachment"
EVICTED = "Evicted"
DISRUPTED = "Disrupted"

LAUNCH_TIMEOUT = "LaunchTimeout"
REGISTRATION_TIMEOUT = "RegistrationTimeout"
"""The timeouts are ours: Karpenter says nothing before the claim is gone."""

NORMAL = "Normal"
WARNING = "Warning"


class Events(Protocol):
    """Where events go: `kube.events.Recorder`. Never raises, never waits."""

    def event(
        self, resource: Resource[Any], metadata: ObjectMeta, type_: str, reason: str, message: str
    ) -> None: ...
