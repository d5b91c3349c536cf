"""What a site refuses with → the refusals of the contract.

The agent of Azure Local (MOC) has codes for its errors, but the API passes them on as text alone:
in `status.errorMessage` of a pool that has Failed, or in ARM's message. The names are those of
github.com/microsoft/moc, pkg/errors/codes; they are looked for as whole words.
"""

from __future__ import annotations

import re

from cloudproviders.errors import (
    CloudError,
    CloudUnavailableError,
    CreateError,
    OfferingRefusedError,
)
from cloudproviders.unavailable import Scope

STOCK_OUTS = ("OutOfCapacity", "OutOfNodeCapacity", "OutOfMemory")
"""No host of the site has room for a machine of this size, or a GPU for it."""

STOCK_OUT_SECONDS = 10 * 60.0
"""Hardware comes free when somebody gives it back; to ask again costs minutes of the cluster's only
operation."""

NOT_SOLD = ("NotSupported",)
"""Of a size: the site does not have it."""

NOT_SOLD_SECONDS = 60 * 60.0

QUOTAS = {
    "QuotaViolation": "ask whoever runs the site for a higher quota",
    "IPOutOfRange": "give the logical network more addresses",
    "PoolFull": "give the logical network's IP pool more addresses",
    "NotEnoughSpace": "free space on the site's storage paths",
}
"""Of the site as a whole: no other size gets round them. With what to do about it."""

PASSING = (
    "Timeout",
    "Timedout",
    "PendingState",
    "DeletePending",
    "NotInitialized",
    "Expired",
    "OldVersion",
    "InUse",
)
"""The same order may succeed later."""

CONFIGURATION = (
    "InvalidConfiguration",
    "InvalidInput",
    "InvalidType",
    "InvalidGroup",
    "InvalidVersion",
    "InvalidToken",
    "AccessDenied",
    "Revoked",
    "NoAuthenticationInformation",
    "AlreadyExists",
    "Duplicates",
    "NotFound",
    "FileNotFound",
    "PathNotFound",
    "BlobNotFound",
    "VolumeNotFound",
    "VolumeDegraded",
    "VolumeAccessInconsistent",
    "PreCheckFailed",
    "Degraded",
)

PREVIEW_CHARACTERS = 200
"""Of the site's words on a condition, which has room for 300."""

_SPACED = re.compile(r"(?<=[a-z])\s+(?=[A-Z])")


class RefusedError(CloudUnavailableError):
    """ARM said no to an order, and it has not been decided yet what that means for the claim."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"Azure: {cut(f'{code}: {text}')}")
        self.code = code
        self.text = text


class BusyError(CloudUnavailableError):
    """Another operation of the cluster has to end first (409)."""


def classified(code: str, text: str, size: str) -> CloudError:
    """What it means for a claim that a pool of that size was refused, or has failed.

    `code` is ARM's; where neither it nor the text names a kind that is known, it is told as it is.
    """
    told = cut(f"{code}: {text}" if code and code not in text else text)
    words = set(re.findall(r"[A-Za-z]+", f"{code} {text} {_SPACED.sub('', text)}"))
    if words & set(STOCK_OUTS):
        return OfferingRefusedError(told, Scope(instance_type=size), ttl=STOCK_OUT_SECONDS)
    if quota := next((each for each in QUOTAS if each in words), ""):
        return CreateError("QuotaExceeded", f"{told}; {QUOTAS[quota]}")
    if words & set(NOT_SOLD):
        return OfferingRefusedError(told, Scope(instance_type=size), ttl=NOT_SOLD_SECONDS)
    if words & set(PASSING):
        return CloudUnavailableError(f"Azure Local: {told}")
    named = next((each for each in CONFIGURATION if each in words), code)
    return CreateError(named or "AgentPoolFailed", told)


def cut(text: str) -> str:
    """One line, no longer than a condition has room for."""
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW_CHARACTERS else line[:PREVIEW_CHARACTERS] + "..."
