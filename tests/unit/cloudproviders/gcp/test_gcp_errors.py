"""What Google says, and what it means."""

from __future__ import annotations

import pytest
from google.cloud import container_v1
from google.rpc import code_pb2

from cloudproviders.errors import CloudUnavailableError
from cloudproviders.gcp import errors
from cloudproviders.gcp.errors import GoogleError, Kind
from cloudproviders.instancetype import Offering
from cloudproviders.unavailable import Scope

SHORT = (
    'Insufficient regional quota to satisfy request: resource "NVIDIA_L4_GPUS": request requires'
    " '1.0' and is short '1.0'. project has a quota of '8.0' with '0.0' available. View and manage"
    " quotas at https://console.cloud.google.com/iam-admin/quotas?usage=USED&project=p."
)
OLDER = (
    'Insufficient regional quota to satisfy request for resource: "IN_USE_ADDRESSES". The request'
    " requires '2.0' and is short '1.0'. The regional quota is '32.0' with '1.0' available."
)
LISTED = (
    '\n\t(1) insufficient regional quota to satisfy request: resource "CPUS": request requires'
    " '72.0' and is short '48.0'. project has a quota of '24.0' with '24.0' available."
)
EXCEEDED = "Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 8.0 in region us-central1."


@pytest.mark.parametrize("code", sorted(container_v1.StatusCondition.Code.__members__))
def test_every_condition_of_a_pool_has_a_meaning(code: str) -> None:
    assert code in errors.CONDITIONS


@pytest.mark.parametrize("status", sorted(set(code_pb2.Code.keys()) - {"OK"}))
def test_every_status_of_a_call_has_a_meaning(status: str) -> None:
    assert status in errors.STATUSES


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(SHORT, "quota NVIDIA_L4_GPUS (limit 8, asked 1, missing 1)", id="short"),
        pytest.param(OLDER, "quota IN_USE_ADDRESSES (asked 2, missing 1)", id="older wording"),
        pytest.param(LISTED, "quota CPUS (limit 24, asked 72, missing 48)", id="one of several"),
    ],
)
def test_a_quota_that_looks_like_a_missing_permission_is_told_as_a_quota(
    text: str, told: str
) -> None:
    verdict = errors.of_call(GoogleError("PERMISSION_DENIED", text))

    assert verdict.kind is Kind.QUOTA
    assert verdict.reason == "QuotaExceeded"
    assert verdict.told.startswith(told)
    assert "raise it under IAM & Admin > Quotas" in verdict.told
    assert text in verdict.told


def test_a_quota_of_a_condition_names_metric_and_limit() -> None:
    verdict = errors.of_codes([("GCE_QUOTA_EXCEEDED", EXCEEDED)])

    assert verdict is not None
    assert verdict.told.startswith("quota NVIDIA_L4_GPUS (limit 8), raise it")


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        ("FAILED_PRECONDITION", "", Kind.BUSY),
        ("FAILED_PRECONDITION", "CLUSTER_ALREADY_HAS_OPERATION", Kind.BUSY),
        ("FAILED_PRECONDITION", "SOMETHING_NEW", Kind.CONFIGURATION),
        ("RESOURCE_EXHAUSTED", "", Kind.BUSY),
        ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", Kind.TRANSIENT),
        ("RESOURCE_EXHAUSTED", "SOMETHING_NEW", Kind.BUSY),
        ("PERMISSION_DENIED", "", Kind.CONFIGURATION),
        ("UNAVAILABLE", "", Kind.TRANSIENT),
        ("ALREADY_EXISTS", "", Kind.EXISTS),
        ("NO_SUCH_STATUS", "", Kind.CONFIGURATION),
    ],
)
def test_the_reason_says_more_than_the_status(status: str, reason: str, kind: Kind) -> None:
    assert GoogleError(status, "words", reason=reason).kind is kind


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        pytest.param(
            "Google Compute Engine: Not all instances running in IGM after 35m. Expected 1, running"
            " 0, transitioning 1. Current errors: [GCE_STOCKOUT]: Instance 'x' creation failed",
            Kind.STOCK_OUT,
            "GceStockout",
            id="in brackets",
        ),
        pytest.param(
            "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS: the zone",
            Kind.STOCK_OUT,
            "ZoneResourcePoolExhaustedWithDetails",
            id="compute",
        ),
        pytest.param(EXCEEDED, Kind.QUOTA, "QuotaExceeded", id="quota"),
        pytest.param("NEW_CODE: who knows", Kind.CONFIGURATION, "NewCode", id="unknown code"),
        pytest.param("it broke", Kind.CONFIGURATION, "NodePoolFailed", id="no code"),
        pytest.param("SET_BY_OPERATOR", Kind.CONFIGURATION, "SetByOperator", id="no cause"),
    ],
)
def test_an_operation_that_failed_is_known_by_the_code_in_its_text(
    text: str, kind: Kind, reason: str
) -> None:
    verdict = errors.of_text(text)

    assert (verdict.kind, verdict.reason) == (kind, reason)
    assert text in verdict.told


def test_the_gravest_condition_counts_and_notices_do_not() -> None:
    assert errors.of_codes([("CA_EXPIRING", "soon"), ("SET_BY_OPERATOR", "x")]) is None
    verdict = errors.of_codes([("UNKNOWN", "x"), ("GCE_STOCKOUT", "y"), ("CA_EXPIRING", "z")])
    assert verdict is not None
    assert verdict.kind is Kind.STOCK_OUT


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        ("GCE_STOCKOUT", Scope(instance_type="t", zone="z", capacity_type="spot")),
        ("QUOTA_EXCEEDED", Scope(instance_type="t", capacity_type="spot")),
        ("IP_SPACE_EXHAUSTED", Scope(zone="z")),
    ],
)
def test_a_refusal_speaks_of_no_more_than_it_says(code: str, scope: Scope) -> None:
    verdict = errors.of_codes([(code, "")])

    assert verdict is not None
    assert verdict.scope("t", Offering(zone="z", capacity_type="spot")) == scope


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("PERMISSION_DENIED", "grant the role of docs/clouds/gcp.md"),
        ("NOT_FOUND", "check GCP_PROJECT, GCP_LOCATION and GCP_CLUSTER_NAME"),
    ],
)
def test_what_the_operator_can_do_is_told(status: str, remedy: str) -> None:
    error = errors.unavailable(GoogleError(status, "words"))

    assert isinstance(error, CloudUnavailableError)
    assert remedy in str(error)
    assert "words" in str(error)
