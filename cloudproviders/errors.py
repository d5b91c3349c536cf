"""The refusals of the cloud contract: Karpenter's typed errors, and what each one sets off.

    CloudError
      NodeClaimNotFoundError       the machine does not exist: finalizers may go
      InsufficientCapacityError    nothing can be had that fits: the claim is deleted
      NodeClassNotReadyError       the configuration is not ready: the claim is deleted
      OfferingRefusedError         not this type, zone or capacity type: the ladder goes on
      CreateError(reason)          told on the Launched condition, then tried again
      CloudUnavailableError        the cloud could not be asked: LaunchFailed, and backoff

Each provider translates the errors of its vendor to these at its border.
"""

from __future__ import annotations

from cloudproviders.unavailable import Scope
from kube.errors import PlainError
from kube.redaction import redacted


class CloudError(PlainError):
    """A cloud said no in a way that the contract knows. Its words go to logs, events and status,
    and some services repeat in them what they were sent: without what looks like a secret."""

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))


class NodeClaimNotFoundError(CloudError):
    """The claim's machine does not exist, or no longer does."""


class InsufficientCapacityError(CloudError):
    """Nothing that fits the claim can be had now; another shape may do better."""


class NodeClassNotReadyError(CloudError):
    """The node class of the claim is missing, being deleted or not ready."""


class CreateError(CloudError):
    """A launch failed for a reason that the user should read on the claim."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = redacted(message)


class OfferingRefusedError(CloudError):
    """One rung of a claim's ladder cannot be had: for `scope` and for `ttl` seconds (None: the
    usual time) nobody need ask again. Never leaves a provider: `ladder.climb` takes it."""

    def __init__(self, message: str, scope: Scope, *, ttl: float | None = None) -> None:
        super().__init__(message)
        self.message = redacted(message)
        self.scope = scope
        self.ttl = ttl


class CloudUnavailableError(CloudError):
    """The cloud did not answer, or failed itself (network, throttling, 5xx); transient."""


class CloudConfigurationError(ValueError):
    """What the operator has set cannot work; told at the start."""


class UnknownCloudError(CloudConfigurationError):
    """The configuration names a cloud, or a part of one, that is not built in."""
