"""AWS's error codes → the refusals of the contract. One table; its keys are the wire's.

Sources: the EC2 API reference, "Error codes" and CreateFleetError; karpenter-provider-aws,
pkg/errors, for which codes mean that another offering may do better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from cloudproviders.errors import CloudError, CloudUnavailableError, CreateError


class Kind(Enum):
    """What a code comes to."""

    OFFERING = auto()
    """Not this type, there, bought this way."""
    QUOTA = auto()
    """The same for now; where nothing else is left the user has to ask for more."""
    SUBNET = auto()
    """No address is left in the subnet."""
    SPOT = auto()
    """No spot machine at all for this account."""
    CONFIGURATION = auto()
    """Somebody has to change something."""
    TRANSIENT = auto()
    """Ask again."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """`reason` stands on the claim's Launched condition; `remedy` follows the vendor's words."""

    kind: Kind
    reason: str = ""
    remedy: str = ""


_ALLOW = "allow what docs/clouds/aws.md lists to the provisioner's IAM role"
_VCPUS = (
    "ask for more at Service Quotas, Amazon EC2, 'Running On-Demand … instances' or"
    " 'All … Spot Instance Requests' of the type's family, counted in vCPUs"
)

MEANINGS: dict[str, Meaning] = {
    "InsufficientInstanceCapacity": Meaning(Kind.OFFERING),
    "InsufficientCapacity": Meaning(Kind.OFFERING),
    "InsufficientHostCapacity": Meaning(Kind.OFFERING),
    "UnfulfillableCapacity": Meaning(Kind.OFFERING),
    "Unsupported": Meaning(Kind.OFFERING),
    "ReservationCapacityExceeded": Meaning(Kind.OFFERING),
    "SpotMaxPriceTooLow": Meaning(Kind.OFFERING),
    "InsufficientFreeAddressesInSubnet": Meaning(Kind.SUBNET),
    "VcpuLimitExceeded": Meaning(Kind.QUOTA, "VCPULimitExceeded", _VCPUS),
    "InstanceLimitExceeded": Meaning(Kind.QUOTA, "InstanceLimitExceeded", _VCPUS),
    "MaxSpotInstanceCountExceeded": Meaning(Kind.QUOTA, "SpotQuotaExceeded", _VCPUS),
    "MaxFleetCountExceeded": Meaning(
        Kind.QUOTA, "FleetQuotaExceeded", "ask for more EC2 fleets at Service Quotas"
    ),
    "VolumeLimitExceeded": Meaning(
        Kind.QUOTA, "VolumeQuotaExceeded", "ask for more storage at Service Quotas, Amazon EBS"
    ),
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": Meaning(
        Kind.SPOT,
        "SpotRoleMissing",
        "run `aws iam create-service-linked-role --aws-service-name spot.amazonaws.com` once",
    ),
    "UnauthorizedOperation": Meaning(Kind.CONFIGURATION, "Unauthorized", _ALLOW),
    "AccessDenied": Meaning(Kind.CONFIGURATION, "Unauthorized", _ALLOW),
    "AccessDeniedException": Meaning(Kind.CONFIGURATION, "Unauthorized", _ALLOW),
    "AuthFailure": Meaning(
        Kind.CONFIGURATION, "AMIAuthorizationFailure", "share the image with this account"
    ),
    "InvalidAMIID.NotFound": Meaning(Kind.CONFIGURATION, "AMINotFound"),
    "InvalidAMIID.Malformed": Meaning(Kind.CONFIGURATION, "InvalidAMIID"),
    "InvalidAMIID.Unavailable": Meaning(Kind.CONFIGURATION, "InvalidAMIID"),
    "ParameterNotFound": Meaning(
        Kind.CONFIGURATION, "AMINotFound", "there is no image of that family for this cluster"
    ),
    "InvalidLaunchTemplateName.NotFoundException": Meaning(
        Kind.CONFIGURATION, "LaunchTemplateNotFound"
    ),
    "InvalidLaunchTemplateId.NotFound": Meaning(Kind.CONFIGURATION, "LaunchTemplateNotFound"),
    "InvalidSubnetID.NotFound": Meaning(Kind.CONFIGURATION, "SubnetNotFound"),
    "InvalidGroup.NotFound": Meaning(Kind.CONFIGURATION, "SecurityGroupNotFound"),
    "InvalidSecurity.RequestHasExpired": Meaning(Kind.TRANSIENT),
    "SecurityGroupsPerInstanceLimitExceeded": Meaning(Kind.CONFIGURATION, "TooManySecurityGroups"),
    "InvalidParameter": Meaning(Kind.CONFIGURATION, "InvalidParameter"),
    "InvalidParameterValue": Meaning(Kind.CONFIGURATION, "InvalidParameter"),
    "InvalidParameterCombination": Meaning(Kind.CONFIGURATION, "InvalidParameter"),
    "InvalidParameterException": Meaning(Kind.CONFIGURATION, "InvalidParameter"),
    "InvalidUserData.Malformed": Meaning(Kind.CONFIGURATION, "InvalidUserData"),
    "PendingVerification": Meaning(Kind.CONFIGURATION, "AccountPendingVerification"),
    "OptInRequired": Meaning(Kind.CONFIGURATION, "AccountNotSubscribed"),
    "Blocked": Meaning(Kind.CONFIGURATION, "AccountBlocked"),
    "ResourceLimitExceededException": Meaning(
        Kind.CONFIGURATION, "NodegroupQuotaExceeded", "ask for more at Service Quotas, Amazon EKS"
    ),
    "RequestLimitExceeded": Meaning(Kind.TRANSIENT),
    "Throttling": Meaning(Kind.TRANSIENT),
    "ThrottlingException": Meaning(Kind.TRANSIENT),
    "TooManyRequestsException": Meaning(Kind.TRANSIENT),
    "InternalError": Meaning(Kind.TRANSIENT),
    "InternalFailure": Meaning(Kind.TRANSIENT),
    "InternalServerError": Meaning(Kind.TRANSIENT),
    "ServerException": Meaning(Kind.TRANSIENT),
    "ServiceUnavailable": Meaning(Kind.TRANSIENT),
    "ServiceUnavailableException": Meaning(Kind.TRANSIENT),
    "Unavailable": Meaning(Kind.TRANSIENT),
}
"""Codes that are missing here are told to the user as they are."""

CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidIdentityToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Of a whole request: who we are was not believed. The SDK gets new credentials by itself."""

NOT_FOUND = frozenset(
    {
        "InvalidInstanceID.NotFound",
        "InvalidLaunchTemplateName.NotFoundException",
        "NoSuchEntity",
        "ParameterNotFound",
        "ResourceNotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    }
)
ALREADY_EXISTS = frozenset(
    {
        "EntityAlreadyExists",
        "InvalidLaunchTemplateName.AlreadyExistsException",
        "LimitExceeded",  # a profile that has its one role already
        "ResourceInUseException",
    }
)
TEMPLATE_GONE = frozenset(
    {"InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound"}
)
OTHER_PARAMETERS = "IdempotentParameterMismatch"
"""The client token was used before, with other parameters."""

_ENCODED = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)
"""What IAM knows of the account, for those who may decode it: not for conditions and logs."""


class ServiceError(CreateError):
    """A service's answer that asking again does not change. `code` is the vendor's."""

    def __init__(self, code: str, message: str, doing: str) -> None:
        meaning = meaning_of(code)
        told = f"{doing}: {code}: {public(message)}" + _then(meaning.remedy)
        super().__init__(meaning.reason or reason(code), told)
        self.code = code


@contextmanager
def told() -> Iterator[None]:
    """The border of the provider: beyond it nobody knows of the vendor's codes."""
    try:
        yield
    except ServiceError as refused:
        raise CreateError(refused.reason, refused.message) from None


def error(code: str, message: str, status: int, doing: str) -> CloudError:
    """What to raise for a request that was refused as a whole."""
    transient = meaning_of(code).kind is Kind.TRANSIENT or status >= 500 or status == 429
    if code in CREDENTIALS:
        return CloudUnavailableError(f"{doing}: credentials were refused ({code}): {message}")
    if transient:
        return CloudUnavailableError(f"{doing}: {code}: {message}")
    return ServiceError(code, message, doing)


def meaning_of(code: str) -> Meaning:
    """Of a code nobody knows: the user reads it."""
    return MEANINGS.get(code, Meaning(Kind.CONFIGURATION))


def explained(code: str, message: str) -> str:
    """The vendor's words, with the code, and what to do about it."""
    return f"{code}: {public(message)}" + _then(meaning_of(code).remedy)


def public(message: str) -> str:
    """The vendor's words, less what is only for the account's own administrators."""
    return _ENCODED.sub("", message)


def reason(code: str) -> str:
    """A code as a condition's reason, which allows letters, digits and `_`."""
    return re.sub(r"[^A-Za-z0-9]+", "_", code).strip("_") or "LaunchFailed"


def _then(remedy: str) -> str:
    return f"; {remedy}" if remedy else ""
