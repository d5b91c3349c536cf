"""Condition types and reasons of a RAGEngine, in upstream's spelling, odd cases too."""

from __future__ import annotations

SERVICE_READY = "ServiceReady"
RAGENGINE_SERVICE_READY = "RAGEngineServiceReady"
"""Only ever False, where the service fails; upstream leaves the other one alone then."""
RAGENGINE_SUCCEEDED = "RAGEngineSucceeded"
RAGENGINE_DELETING = "RAGEngineDeleting"

REASON_RESOURCE_SUCCESS = "ragengineResourceStatusSuccess"
REASON_RESOURCE_FAILED = "ragengineResourceStatusFailed"
REASON_CLAIM_PENDING = "CreateNodeClaimPending"
REASON_CLAIM_CREATION_FAILED = "nodeClaimFailedCreation"
REASON_CLAIM_STATUS_FAILED = "checkNodeClaimStatusFailed"
REASON_CLAIM_READY = "installNodePluginsSuccess"
REASON_SERVICE_SUCCESS = "RAGEngineServiceSuccess"
REASON_SERVICE_PENDING = "RAGEngineServicePending"
"""Ours: the pod is on its way, and nobody complains."""
REASON_SERVICE_FAILED = "RAGEngineServiceStatusFailed"
REASON_POD_NOT_MADE = "PodCreationFailed"
"""Ours: the API server refuses the pod, as a quota or the namespace's Pod Security would."""
REASON_SUCCEEDED = "ragengineSucceeded"
REASON_PENDING = "ragenginePending"
"""Ours: upstream calls failed whatever is not ready."""
REASON_FAILED = "ragengineFailed"
REASON_CREATION_FAILED = "ragEngineFailed"
"""The API server refuses what the service is made of."""
REASON_DELETED = "ragengineDeleted"

REASON_SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105  # a reason, not a secret
REASON_SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105
REASON_CLAIM_NOT_FOUND = "PersistentVolumeClaimNotFound"
REASON_POLICY_NOT_FOUND = "GuardrailsPolicyNotFound"
REASON_SETTINGS_NOT_FOUND = "RAGSettingsNotFound"
REASON_SETTINGS_INVALID = "InvalidRAGSettings"
REASON_STORE_KEYS_INVALID = "InvalidObjectStoreSecret"
"""Ours, of ServiceReady: what the RAGEngine names is not there, or cannot be used."""
REASON_INVALID = "InvalidRAGEngine"
