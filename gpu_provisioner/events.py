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
INITIALIZATION_TIMEOUT = "InitializationTimeout"
"""The timeouts are ours: Karpenter says nothing before the claim is gone."""

FAILED_CONSISTENCY_CHECK = "FailedConsistencyCheck"
NODE_REPAIR_BLOCKED = "NodeRepairBlocked"
SPOT_INTERRUPTED = "SpotInterrupted"
SPOT_REBALANCE_RECOMMENDATION = "SpotRebalanceRecommendation"
INSTANCE_STOPPING = "InstanceStopping"
INSTANCE_TERMINATING = "InstanceTerminating"
INSTANCE_UNHEALTHY = "InstanceUnhealthy"
CAPACITY_RESERVATION_INTERRUPTED = "CapacityReservationInstanceInterrupted"
TERMINATING_ON_INTERRUPTION = "TerminatingOnInterruption"

EXPIRED = "Expired"
NODE_UNHEALTHY = "NodeUnhealthy"
INSTANCE_GONE = "InstanceGone"
FAILED_INSTANCE_TERMINATION = "FailedInstanceTermination"
"""These four are ours too: whoever watches a claim go, or fail to, should read there why."""

DISRUPTION_BLOCKED = "DisruptionBlocked"
DISRUPTION_LAUNCHING = "DisruptionLaunching"
DISRUPTION_TERMINATING = "DisruptionTerminating"
DRIFTED = "Drifted"
WAITING_ON_NODE_CLAIMS = "WaitingOnNodeClaims"
NODE_CLASS_NOT_RESOLVED = "NodeClassNotResolved"
"""A class that is held, or that the cloud could not be asked about; Karpenter has the former."""

NORMAL = "Normal"
WARNING = "Warning"


class Events(Protocol):
    """Where events go: `kube.events.Recorder`. Never raises, never waits."""

    def event(
        self, resource: Resource[Any], metadata: ObjectMeta, type_: str, reason: str, message: str
    ) -> None: ...
