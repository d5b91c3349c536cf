"""What ARM and AKS refuse with → the refusals of the contract.

Codes are those of learn.microsoft.com/troubleshoot/azure/azure-kubernetes/error-codes and of Azure
Resource Manager's common deployment errors; scopes and times are those of Karpenter's Azure
provider (v1.14). By code; the few things that AKS tells apart by words alone are in `WORDS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from apis.karpenter.v1 import labels
from cloudproviders.errors import (
    CloudError,
    CloudUnavailableError,
    CreateError,
    OfferingRefusedError,
)
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.unavailable import Scope

MINUTE, HOUR = 60.0, 3600.0
PREVIEW_CHARACTERS = 200
"""Of the vendor's words on a condition, which has room for 300."""

WORDS: dict[str, tuple[str, ...]] = {
    # aka.ms/aks-pending-operation: code OperationNotAllowed, as for quotas.
    "operation in progress": ("in progress", "aks-pending-operation", "is being performed"),
    # The quota's name stands in the text alone (aka.ms/AzurePerVMQuotaLimits).
    "spot quota": ("lowprioritycores", "low priority cores", "spot cores", "spot vcpus"),
    "family quota": ("family cores quota", "family vcpus", "family cores"),
    "regional quota": ("total regional cores", "total regional vcpus", "regional cores quota"),
    # BadRequest, as for everything else that is wrong with a pool.
    "size not offered": (
        "is not supported for subscription",
        "is not allowed in your subscription",
    ),
}
"""Code alone does not tell: lower-case phrases, any of which is the sign."""

QUOTA_CODES = frozenset(
    {
        "OperationNotAllowed",
        "QuotaExceeded",
        "InsufficientVCPUQuota",
        "ErrCode_InsufficientVCPUQuota",
    }
)
IN_PROGRESS_CODES = frozenset({"OperationNotAllowed", "Conflict", "AnotherOperationInProgress"})
SKU_CODES = frozenset({"SkuNotAvailable", "SKUNotAvailable"})
SIZE_CODES = frozenset({"VMSizeNotSupported", "InvalidVMSize"})
ZONE_CODES = frozenset({"AvailabilityZoneNotSupported", "ZoneNotSupported"})
TRANSIENT_CODES = frozenset(
    {
        "AKSOperationPreempted",
        "OperationPreempted",
        "TooManyRequests",
        "Throttled",
        "SubscriptionRequestsThrottled",
        "InternalServerError",
        "InternalError",
        "InternalOperationError",
        "ServerTimeout",
        "GatewayTimeout",
        "ServiceUnavailable",
        "CRPThrottled",
        "VMSSThrottled",
        "RetryableError",
    }
)
REMEDIES = {
    "ResourceNotFound": "AZURE_RESOURCE_GROUP and AZURE_CLUSTER_NAME name the AKS cluster",
    "ResourceGroupNotFound": "AZURE_RESOURCE_GROUP is that of the AKS cluster",
    "SubscriptionNotFound": "AZURE_SUBSCRIPTION_ID is that of the AKS cluster",
    "AuthorizationFailed": "give the identity the permissions of docs/clouds/azure.md",
    "LinkedAuthorizationFailed": "the identity needs Microsoft.Network/virtualNetworks/subnets/"
    "join/action on the subnet",
    "SubnetIsFull": "use a larger subnet (AZURE_VNET_SUBNET_ID)",
    "InsufficientSubnetSize": "use a larger subnet (AZURE_VNET_SUBNET_ID)",
    "RequestDisallowedByPolicy": "an Azure Policy forbids the pool; AZURE_TAGS may satisfy it",
}

_INNER_CODE = re.compile(r"""\bcode["']?\s*[=:]\s*["']([A-Za-z_]+)["']""", re.IGNORECASE)
"""AKS wraps what the compute provider said as text into an error of its own."""
_LIMIT = re.compile(r"Current Limit: (\d+), Current Usage: (\d+), Additional Required: (\d+)", re.I)
_OTHER_LIMIT = re.compile(
    r"Maximum allowed: (\d+), Current in use: (\d+), Additional requested: (\d+)", re.I
)
_QUOTA_NAME = re.compile(r"(?:approved|quota limit of)\s+(.+?)(?: quota\b|\.)", re.I)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer, or the error that a failed pool carries. `status` 0 for the latter."""

    code: str
    message: str
    status: int = 0
    details: tuple[Refusal, ...] = ()
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code

    @property
    def codes(self) -> frozenset[str]:
        """Its own, those of its details, and those that it quotes."""
        return frozenset(self._codes())

    def says(self, sign: str) -> bool:
        """Whether one of the phrases of `WORDS` stands in it, or in its details."""
        text = self.message.casefold()
        return any(phrase in text for phrase in WORDS[sign]) or any(
            each.says(sign) for each in self.details
        )

    @property
    def text(self) -> str:
        """All that it says, in one string: for figures, never for decisions."""
        return " ".join((self.message, *(each.text for each in self.details)))

    def _codes(self) -> Iterator[str]:
        yield self.code
        yield from _INNER_CODE.findall(self.message)
        for each in self.details:
            yield from each._codes()


class RefusedError(CloudUnavailableError):
    """ARM said no, and it has not been decided yet what that means here."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"Azure: {cut(str(refusal))}")
        self.refusal = refusal


class BusyError(CloudUnavailableError):
    """Not now: ARM throttles us, or the cluster is at work. `wait` in seconds, None: unsaid."""

    def __init__(self, message: str, wait: float | None) -> None:
        super().__init__(message)
        self.wait = wait


class QueuedError(BusyError):
    """Another operation of the pool or of the cluster has to end first."""


class ExistsError(CloudUnavailableError):
    """There is a pool of that name already: of another process of ours, or of somebody else."""


class QuotaRefusedError(OfferingRefusedError):
    """A rung that a quota stands against: where nothing else is left the user must hear of it."""


def in_progress(refusal: Refusal) -> bool:
    """Another operation of the pool or of its cluster has to end first."""
    return bool(refusal.codes & IN_PROGRESS_CODES) and refusal.says("operation in progress")


def transient(refusal: Refusal) -> bool:
    return (
        refusal.status in {401, 408, 429}  # 401: a new token may do
        or refusal.status >= 500
        or bool(refusal.codes & TRANSIENT_CODES)
    )


def translate(refusal: Refusal, size: InstanceType, offering: Offering) -> CloudError:
    """What a refusal of a pool of that size, bought that way, means for the claim."""
    if in_progress(refusal):
        return QueuedError(f"Azure: {cut(str(refusal))}", refusal.retry_after)
    if refusal.codes & QUOTA_CODES and (quota := _quota(refusal, size, offering)):
        return quota
    if refused := _no_machine(refusal, size, offering):
        return refused
    if transient(refusal):
        return RefusedError(refusal)
    return created_not(refusal)


def created_not(refusal: Refusal) -> CreateError:
    """What only people can change, or what nobody has heard of: the user reads it."""
    told = cut(str(refusal))
    remedy = next((REMEDIES[code] for code in REMEDIES if code in refusal.codes), "")
    return CreateError(_reason(refusal.code), f"{told}; {remedy}" if remedy else told)


def _quota(refusal: Refusal, size: InstanceType, offering: Offering) -> CloudError | None:
    message = quota_message(refusal, size.name)
    if refusal.says("spot quota"):
        spot = Scope(capacity_type=labels.CAPACITY_SPOT)
        return QuotaRefusedError(message, spot, ttl=HOUR)
    if refusal.says("family quota"):
        scope = Scope(instance_type=size.name, capacity_type=offering.capacity_type)
        figures = _figures(refusal)
        never = figures is not None and figures[0] == 0
        return QuotaRefusedError(message, scope, ttl=HOUR if never else 10 * MINUTE)
    if refusal.says("regional quota") or refusal.codes & (QUOTA_CODES - {"OperationNotAllowed"}):
        return CreateError("QuotaExceeded", message)
    return None


def _no_machine(
    refusal: Refusal, size: InstanceType, offering: Offering
) -> OfferingRefusedError | None:
    """Sold out, or not sold here; the most particular first."""
    name, zone, kind = size.name, offering.zone, offering.capacity_type
    spot = kind == labels.CAPACITY_SPOT
    # No spot machine may yet be an on-demand one, which Karpenter's table denies; a reservation
    # that is full is no stock-out at all.
    either = "" if kind == labels.CAPACITY_ON_DEMAND else kind
    bought_so = Scope(instance_type=name, zone=zone, capacity_type=kind)
    placed_so = Scope(instance_type=name, zone=zone, capacity_type=either)
    rows: tuple[tuple[bool, Scope, float], ...] = (
        (bool(refusal.codes & SKU_CODES), bought_so, HOUR if spot else 23 * HOUR),
        ("OverconstrainedZonalAllocationRequest" in refusal.codes, bought_so, HOUR),
        ("OverconstrainedAllocationRequest" in refusal.codes, bought_so, HOUR),
        ("ZonalAllocationFailed" in refusal.codes, placed_so, HOUR),
        ("AllocationFailed" in refusal.codes, placed_so, HOUR),
        (bool(refusal.codes & ZONE_CODES), Scope(instance_type=name, zone=zone), 23 * HOUR),
        (
            bool(refusal.codes & SIZE_CODES) or refusal.says("size not offered"),
            Scope(instance_type=name),
            23 * HOUR,
        ),
    )
    for matches, scope, ttl in rows:
        if matches:
            return OfferingRefusedError(cut(str(refusal)), scope, ttl=ttl)
    return None


def quota_message(refusal: Refusal, size: str) -> str:
    """Which quota, its limit and use as far as Azure tells them, and what to do."""
    text = refusal.text
    found = _QUOTA_NAME.search(text)
    name = f"quota {found[1]!r}" if found else "a core quota"
    told = f"{size}: {name} of the subscription is exceeded"
    if figures := _figures(refusal):
        limit, used, more = figures
        told += f" (limit {limit}, in use {used}, {more} more needed)"
    told += "; ask for a higher one at https://aka.ms/ProdportalCRP or use another size"
    return f"{told}. Azure says: {cut(text)}"


def _figures(refusal: Refusal) -> tuple[int, int, int] | None:
    found = _LIMIT.search(refusal.text) or _OTHER_LIMIT.search(refusal.text)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def _reason(code: str) -> str:
    """As a condition's reason may be written."""
    word = re.sub(r"[^A-Za-z0-9_]", "", code)
    return word if word[:1].isalpha() else "LaunchFailed"


def cut(text: str) -> str:
    """One line, no longer than a condition has room for."""
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW_CHARACTERS else line[:PREVIEW_CHARACTERS] + "..."
