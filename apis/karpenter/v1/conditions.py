"""Condition types and reasons of NodeClaim and NodePool, as Karpenter spells them."""

from __future__ import annotations

LAUNCHED = "Launched"
REGISTERED = "Registered"
INITIALIZED = "Initialized"
READY = "Ready"
CONSOLIDATABLE = "Consolidatable"
DRIFTED = "Drifted"
DRAINED = "Drained"
VOLUMES_DETACHED = "VolumesDetached"
INSTANCE_TERMINATING = "InstanceTerminating"
CONSISTENT_STATE_FOUND = "ConsistentStateFound"
DISRUPTION_REASON = "DisruptionReason"

INSTANCE_ORDERED = "InstanceOrdered"
"""Ours: the cloud has accepted and is at work; since when. Gone once there is an instance."""

READY_DEPENDENTS = (LAUNCHED, REGISTERED, INITIALIZED)
"""Ready is their sum; no other condition feeds it."""

AWAITING_RECONCILIATION = "AwaitingReconciliation"
AWAITING_MESSAGE = "object is awaiting reconciliation"
UNHEALTHY_DEPENDENTS = "UnhealthyDependents"
RECONCILING_DEPENDENTS = "ReconcilingDependents"

LAUNCH_FAILED = "LaunchFailed"
NODE_NOT_FOUND = "NodeNotFound"
NODE_NOT_FOUND_MESSAGE = "Node not registered with cluster"
MULTIPLE_NODES_FOUND = "MultipleNodesFound"
MULTIPLE_NODES_MESSAGE = "Invariant violated, matched multiple nodes"
REGISTRATION_FAILED = "RegistrationFailed"
REGISTRATION_HOOK_PENDING = "RegistrationHookPending"
NODE_NOT_READY = "NodeNotReady"
NODE_NOT_READY_MESSAGE = "Node status is NotReady"
STARTUP_TAINTS_EXIST = "StartupTaintsExist"
KNOWN_EPHEMERAL_TAINTS_EXIST = "KnownEphemeralTaintsExist"
RESOURCE_NOT_REGISTERED = "ResourceNotRegistered"
GPU_MODEL_MISMATCH = "GPUModelMismatch"
DRAINING = "Draining"
AWAITING_VOLUME_DETACHMENT = "AwaitingVolumeDetachment"
TERMINATION_GRACE_PERIOD_ELAPSED = "TerminationGracePeriodElapsed"
CONSISTENCY_CHECK_FAILED = "ConsistencyCheckFailed"

NODEPOOL_DRIFTED = "NodePoolDrifted"
REQUIREMENTS_DRIFTED = "RequirementsDrifted"
INSTANCE_TYPE_NOT_FOUND = "InstanceTypeNotFound"

VALIDATION_SUCCEEDED = "ValidationSucceeded"
NODE_CLASS_READY = "NodeClassReady"
NODE_REGISTRATION_HEALTHY = "NodeRegistrationHealthy"
NODE_CLASS_NOT_FOUND = "NodeClassNotFound"
NODE_CLASS_TERMINATING = "NodeClassTerminating"
NODE_CLASS_READINESS_UNKNOWN = "NodeClassReadinessUnknown"
NODE_POOL_VALIDATION_FAILED = "NodePoolValidationFailed"

POOL_READY_DEPENDENTS = (VALIDATION_SUCCEEDED, NODE_CLASS_READY)
"""Of a pool's Ready."""

REPLICAS_PROVISIONED = "ReplicasProvisioned"
"""Ours, on pools: whether as many nodes are there, or under way, as `replicas` asks."""
NOT_STATIC = "NotStatic"
POOL_NOT_READY = "NodePoolNotReady"
LIMIT_REACHED = "LimitReached"
BACKING_OFF = "BackingOff"
CREATE_REFUSED = "CreateRefused"

NODE_CLASS_DRIFTED = "NodeClassDrift"
"""As Karpenter's providers spell it."""
