"""Google's errors → the refusals of the contract.

There are three sorts: a call is refused (gRPC status, with `google.rpc.ErrorInfo`), a node pool
reports a condition, an operation ends with codes of Compute Engine. What tells kinds apart only by
text is in one table (`TEXTS`), each entry with its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from cloudproviders.errors import CloudError, CloudUnavailableError, CreateError
from cloudproviders.instancetype import Offering
from cloudproviders.unavailable import Scope


class Kind(Enum):
    """What a code comes to."""

    STOCK_OUT = auto()
    """Not this machine in this zone now."""
    ADDRESSES = auto()
    """The zone's subnet is full: another zone or a short while may help."""
    QUOTA = auto()
    """The user may have no more of it until Google says so."""
    CONFIGURATION = auto()
    """Somebody has to change something; told as CreateError."""
    BUSY = auto()
    """The cluster is at work on something else: wait for one's turn."""
    TRANSIENT = auto()
    """The next call may succeed."""
    NOT_FOUND = auto()
    EXISTS = auto()
    NOTICE = auto()
    """Nothing to do with whether the pool gets its node."""


STATUSES: dict[str, Kind] = {
    "CANCELLED": Kind.TRANSIENT,
    "UNKNOWN": Kind.TRANSIENT,
    "INVALID_ARGUMENT": Kind.CONFIGURATION,
    "DEADLINE_EXCEEDED": Kind.TRANSIENT,
    "NOT_FOUND": Kind.NOT_FOUND,
    "ALREADY_EXISTS": Kind.EXISTS,
    "PERMISSION_DENIED": Kind.CONFIGURATION,
    "UNAUTHENTICATED": Kind.TRANSIENT,
    "RESOURCE_EXHAUSTED": Kind.BUSY,
    "FAILED_PRECONDITION": Kind.BUSY,
    "ABORTED": Kind.BUSY,
    "OUT_OF_RANGE": Kind.CONFIGURATION,
    "UNIMPLEMENTED": Kind.CONFIGURATION,
    "INTERNAL": Kind.TRANSIENT,
    "UNAVAILABLE": Kind.TRANSIENT,
    "DATA_LOSS": Kind.TRANSIENT,
}
"""google.rpc.Code → what it means where no reason says more. GKE's older answers to an operation
beside another one are a FAILED_PRECONDITION without a reason (prometheus/test-infra#84); to one
too many of them RESOURCE_EXHAUSTED (hashicorp/terraform-provider-google#15205)."""

REASONS: dict[str, Kind] = {
    "CLUSTER_ALREADY_HAS_OPERATION": Kind.BUSY,
    "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED": Kind.BUSY,
    "RATE_LIMIT_EXCEEDED": Kind.TRANSIENT,
    "RESOURCE_QUOTA_EXCEEDED": Kind.TRANSIENT,
    "ACCESS_TOKEN_EXPIRED": Kind.TRANSIENT,
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": Kind.CONFIGURATION,
    "CREDENTIALS_MISSING": Kind.TRANSIENT,
    "API_KEY_INVALID": Kind.CONFIGURATION,
    "ACCOUNT_STATE_INVALID": Kind.CONFIGURATION,
    "BILLING_DISABLED": Kind.CONFIGURATION,
    "CONSUMER_SUSPENDED": Kind.CONFIGURATION,
    "CONSUMER_INVALID": Kind.CONFIGURATION,
    "IAM_PERMISSION_DENIED": Kind.CONFIGURATION,
    "LOCATION_POLICY_VIOLATED": Kind.CONFIGURATION,
    "ORG_RESTRICTION_VIOLATION": Kind.CONFIGURATION,
    "SECURITY_POLICY_VIOLATED": Kind.CONFIGURATION,
    "SERVICE_DISABLED": Kind.CONFIGURATION,
    "SYSTEM_PARAMETER_UNSUPPORTED": Kind.CONFIGURATION,
    "USER_PROJECT_DENIED": Kind.CONFIGURATION,
}
"""ErrorInfo.reason → kind. GKE's own: kubernetes-sigs/cluster-api-provider-gcp#1363; the others are
google.api.ErrorReason of googleapis/googleapis."""

CONDITIONS: dict[str, Kind] = {
    "UNKNOWN": Kind.CONFIGURATION,
    "GCE_STOCKOUT": Kind.STOCK_OUT,
    "GKE_SERVICE_ACCOUNT_DELETED": Kind.CONFIGURATION,
    "GCE_QUOTA_EXCEEDED": Kind.QUOTA,
    "SET_BY_OPERATOR": Kind.NOTICE,
    "CLOUD_KMS_KEY_ERROR": Kind.CONFIGURATION,
    "CA_EXPIRING": Kind.NOTICE,
    "NODE_SERVICE_ACCOUNT_MISSING_PERMISSIONS": Kind.CONFIGURATION,
    "CLOUD_KMS_KEY_DESTROYED": Kind.CONFIGURATION,
}
"""StatusCondition.Code of container/v1, all of them."""

COMPUTE: dict[str, Kind] = {
    "ZONE_RESOURCE_POOL_EXHAUSTED": Kind.STOCK_OUT,
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": Kind.STOCK_OUT,
    "RESOURCE_POOL_EXHAUSTED": Kind.STOCK_OUT,
    "STOCKOUT": Kind.STOCK_OUT,
    "UNSUPPORTED_OPERATION": Kind.CONFIGURATION,
    "IP_SPACE_EXHAUSTED": Kind.ADDRESSES,
    "IP_SPACE_EXHAUSTED_WITH_DETAILS": Kind.ADDRESSES,
    "QUOTA_EXCEEDED": Kind.QUOTA,
    "PERMISSIONS_ERROR": Kind.CONFIGURATION,
    "INVALID_USAGE": Kind.CONFIGURATION,
    "RESOURCE_NOT_FOUND": Kind.CONFIGURATION,
    "CONDITION_NOT_MET": Kind.CONFIGURATION,
    "RESERVATION_CAPACITY_EXCEEDED": Kind.STOCK_OUT,
    "VM_MIN_COUNT_NOT_REACHED": Kind.STOCK_OUT,
}
"""Codes of Compute Engine in the errors of operations and pools (cloud.google.com/compute/docs/
troubleshooting/troubleshooting-vm-creation; the first two and the IP ones as in
cloudpilot-ai/karpenter-provider-gcp)."""

TTL_SECONDS: dict[Kind, float] = {
    Kind.STOCK_OUT: 10 * 60.0,
    Kind.ADDRESSES: 10 * 60.0,
    Kind.QUOTA: 5 * 60.0,
    Kind.CONFIGURATION: 60.0,
}
"""For how long an offering is not asked for again: longer than a claim takes through all its zones,
each of which costs minutes."""

REMEDIES: dict[str, str] = {
    "PERMISSION_DENIED": "grant the role of docs/clouds/gcp.md to the provisioner's account",
    "IAM_PERMISSION_DENIED": "grant the role of docs/clouds/gcp.md to the provisioner's account",
    "SERVICE_DISABLED": "enable container.googleapis.com in the project",
    "NOT_FOUND": "check GCP_PROJECT, GCP_LOCATION and GCP_CLUSTER_NAME",
    "GKE_SERVICE_ACCOUNT_DELETED": "restore the project's GKE service agent",
    "NODE_SERVICE_ACCOUNT_MISSING_PERMISSIONS": (
        "grant roles/container.defaultNodeServiceAccount to the nodes' account"
    ),
}

_QUOTA_SHORT = re.compile(
    r'nsufficient (?:regional|project) quota to satisfy request[^"]*"(?P<metric>\w+)":?\s*\.?'
    r"(?: [Tt]he)? request requires '(?P<asked>[\d.]+)' and is short '(?P<short>[\d.]+)'\."
    r"(?: project has a quota of '(?P<limit>[\d.]+)')?"
)
_QUOTA_EXCEEDED = re.compile(
    r"Quota '(?P<metric>\w+)' exceeded\.\s*(?:Limit: (?P<limit>[\d.]+))?(?: (?P<where>\S.*?)\.)?"
)

TEXTS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    # GKE refuses CreateNodePool with PERMISSION_DENIED and no other mark (kubeflow/kubeflow#842,
    # GoogleCloudPlatform/k8s-config-connector#321).
    (_QUOTA_SHORT, Kind.QUOTA),
    # Compute Engine's QUOTA_EXCEEDED as GKE hands it on (GoogleCloudPlatform/ai-on-gke#849).
    (_QUOTA_EXCEEDED, Kind.QUOTA),
)

_CODE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
"""Operations that fail name the code in the text alone: `Current errors: [GCE_STOCKOUT]: …`
(hashicorp/terraform-provider-google#6287, #10121)."""


class GoogleError(Exception):
    """A call that failed, in Google's words. `status` is the name of a google.rpc.Code."""

    def __init__(
        self, status: str, message: str, *, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(f"{reason or status}: {message}")
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """The most that Google says of what it was."""
        return self.reason or self.status

    @property
    def kind(self) -> Kind:
        if self.reason in REASONS:
            return REASONS[self.reason]
        if (kind := _by_text(self.message)) is not None:
            return kind
        kind = STATUSES.get(self.status, Kind.CONFIGURATION)
        if self.reason and self.status == "FAILED_PRECONDITION":
            return Kind.CONFIGURATION  # a precondition that nobody knows will not pass by itself
        return kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why an order came to nothing: `code` is Google's, `told` what the user reads."""

    kind: Kind
    code: str
    told: str

    @property
    def reason(self) -> str:
        """The CreateError's, and so the condition's: CamelCase."""
        if self.kind is Kind.QUOTA:
            return "QuotaExceeded"
        return "".join(part.capitalize() for part in self.code.split("_")) or "NodePoolFailed"

    def scope(self, instance_type: str, offering: Offering) -> Scope:
        """What need not be asked for meanwhile: quotas hold for a whole region, stock-outs and
        full subnets for a zone."""
        if self.kind is Kind.ADDRESSES:
            return Scope(zone=offering.zone)
        zone = "" if self.kind is Kind.QUOTA else offering.zone
        return Scope(instance_type=instance_type, zone=zone, capacity_type=offering.capacity_type)


def of_call(error: GoogleError) -> Verdict:
    """Of a refused CreateNodePool."""
    return _verdict(error.kind, error.code, error.message)


def of_codes(codes: Iterable[tuple[str, str]]) -> Verdict | None:
    """Of the (code, message) pairs of a pool's conditions and of its operation, the gravest; None
    where all is well as far as they tell."""
    found = [
        _verdict(kind, code, message)
        for code, message in codes
        if (kind := _kind_of(code)) is not Kind.NOTICE
    ]
    return min(found, key=lambda each: _GRAVITY.index(each.kind), default=None)


def of_text(message: str) -> Verdict:
    """Of a failure that has nothing but its text: the first code in it that is known."""
    if (kind := _by_text(message)) is not None:
        return _verdict(kind, "QUOTA_EXCEEDED", message)
    codes = _CODE.findall(message)
    known = next((code for code in codes if code in CONDITIONS or code in COMPUTE), "")
    code = known or next(iter(codes), "")
    kind = _kind_of(code)
    return _verdict(Kind.CONFIGURATION if kind is Kind.NOTICE else kind, code, message)


def unavailable(error: GoogleError) -> CloudError:
    """Of a call that should have succeeded: reading, deleting."""
    told = f"Google: {error.code}: {error.message}"
    remedy = REMEDIES.get(error.code) or REMEDIES.get(error.status)
    return CloudUnavailableError(f"{told}; {remedy}" if remedy else told)


def create_error(verdict: Verdict) -> CreateError:
    return CreateError(verdict.reason, verdict.told)


def _kind_of(code: str) -> Kind:
    """A code that nobody knows is the user's to read."""
    return CONDITIONS.get(code) or COMPUTE.get(code) or REASONS.get(code) or Kind.CONFIGURATION


_GRAVITY = (
    Kind.QUOTA,
    Kind.STOCK_OUT,
    Kind.ADDRESSES,
    Kind.CONFIGURATION,
    Kind.BUSY,
    Kind.TRANSIENT,
    Kind.EXISTS,
    Kind.NOT_FOUND,
)


def _by_text(message: str) -> Kind | None:
    return next((kind for pattern, kind in TEXTS if pattern.search(message)), None)


def _verdict(kind: Kind, code: str, message: str) -> Verdict:
    """The user reads 300 characters: what to do comes before Google's own words."""
    told = f"{code}: {message}" if code and code not in message else message
    if kind is Kind.QUOTA:
        told = f"{_quota(message)}{told}"
    elif remedy := REMEDIES.get(code):
        told = f"{remedy}: {told}"
    return Verdict(kind=kind, code=code, told=told)


def _quota(message: str) -> str:
    """Which quota, its limit and what was asked, as far as the text tells."""
    found = _QUOTA_SHORT.search(message) or _QUOTA_EXCEEDED.search(message)
    if found is None:
        return "a quota of the project is used up, raise it under IAM & Admin > Quotas: "
    known = found.groupdict()
    numbers = [
        f"{name} {float(known[key]):g}"
        for name, key in (("limit", "limit"), ("asked", "asked"), ("missing", "short"))
        if known.get(key)
    ]
    amounts = f" ({', '.join(numbers)})" if numbers else ""
    return f"quota {known['metric']}{amounts}, raise it under IAM & Admin > Quotas: "
