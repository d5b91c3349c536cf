"""Azure's refusals: which rungs they speak of, and for how long."""

from __future__ import annotations

import pytest

from cloudproviders.azure.errors import (
    QueuedError,
    QuotaRefusedError,
    Refusal,
    RefusedError,
    created_not,
    translate,
)
from cloudproviders.errors import CreateError, OfferingRefusedError
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.unavailable import Scope

SIZE = InstanceType(name="Standard_NC24ads_A100_v4")
NAME = SIZE.name
HOUR = 3600.0
QUOTA = (
    "results in exceeding approved {} quota. Current Limit: {}, Current Usage: 8, Additional"
    " Required: 24"
)


def offering(kind: str = "on-demand", zone: str = "eastus-1") -> Offering:
    return Offering(zone=zone, capacity_type=kind)


@pytest.mark.parametrize(
    ("code", "message", "kind", "scope", "ttl"),
    [
        pytest.param(
            "OperationNotAllowed",
            QUOTA.format("LowPriorityCores", 48),
            "spot",
            Scope(capacity_type="spot"),
            HOUR,
            id="spot quota blocks all spot",
        ),
        pytest.param(
            "OperationNotAllowed",
            QUOTA.format("Standard NCADS Family Cores", 48),
            "on-demand",
            Scope(instance_type=NAME, capacity_type="on-demand"),
            600.0,
            id="family quota",
        ),
        pytest.param(
            "OperationNotAllowed",
            QUOTA.format("Standard NCADS Family Cores", 0),
            "on-demand",
            Scope(instance_type=NAME, capacity_type="on-demand"),
            HOUR,
            id="family quota of none",
        ),
        pytest.param(
            "SkuNotAvailable",
            "",
            "spot",
            Scope(instance_type=NAME, zone="eastus-1", capacity_type="spot"),
            HOUR,
            id="spot not sold there",
        ),
        pytest.param(
            "SkuNotAvailable",
            "",
            "on-demand",
            Scope(instance_type=NAME, zone="eastus-1", capacity_type="on-demand"),
            23 * HOUR,
            id="not sold there",
        ),
        pytest.param(
            "ZonalAllocationFailed",
            "",
            "on-demand",
            Scope(instance_type=NAME, zone="eastus-1"),
            HOUR,
            id="no machine in the zone, nor then a spot one",
        ),
        pytest.param(
            "AllocationFailed",
            "",
            "spot",
            Scope(instance_type=NAME, zone="eastus-1", capacity_type="spot"),
            HOUR,
            id="no spot machine says nothing of on-demand",
        ),
        pytest.param(
            "AllocationFailed",
            "",
            "reserved",
            Scope(instance_type=NAME, zone="eastus-1", capacity_type="reserved"),
            HOUR,
            id="a full reservation says nothing of the rest",
        ),
        pytest.param(
            "OverconstrainedAllocationRequest",
            "",
            "on-demand",
            Scope(instance_type=NAME, zone="eastus-1", capacity_type="on-demand"),
            HOUR,
            id="overconstrained",
        ),
        pytest.param(
            "OverconstrainedZonalAllocationRequest",
            "",
            "on-demand",
            Scope(instance_type=NAME, zone="eastus-1", capacity_type="on-demand"),
            HOUR,
            id="overconstrained in the zone",
        ),
        pytest.param(
            "VMSizeNotSupported",
            "",
            "spot",
            Scope(instance_type=NAME),
            23 * HOUR,
            id="no such size",
        ),
        pytest.param(
            "BadRequest",
            "The VM size is not supported for subscription s in location eastus",
            "spot",
            Scope(instance_type=NAME),
            23 * HOUR,
            id="size not for this subscription",
        ),
        pytest.param(
            "AvailabilityZoneNotSupported",
            "",
            "spot",
            Scope(instance_type=NAME, zone="eastus-1"),
            23 * HOUR,
            id="size not in this zone",
        ),
    ],
)
def test_refusals_speak_of_rungs(
    code: str, message: str, kind: str, scope: Scope, ttl: float
) -> None:
    refused = translate(Refusal(code, message, 400), SIZE, offering(kind))

    assert isinstance(refused, OfferingRefusedError)
    assert (refused.scope, refused.ttl) == (scope, ttl)


def test_case_07_regional_quota_is_the_users_to_know() -> None:
    refusal = Refusal("OperationNotAllowed", QUOTA.format("Total Regional Cores", 48), 409)

    told = translate(refusal, SIZE, offering())

    assert isinstance(told, CreateError)
    assert told.reason == "QuotaExceeded"
    assert "quota 'Total Regional Cores'" in told.message
    assert "limit 48, in use 8, 24 more needed" in told.message


def test_family_quota_is_known_for_one() -> None:
    refusal = Refusal("QuotaExceeded", QUOTA.format("Standard NCADS Family Cores", 48), 400)

    assert isinstance(translate(refusal, SIZE, offering()), QuotaRefusedError)


def test_the_older_wording_of_quotas_has_figures_too() -> None:
    words = (
        "exceeding quota limit of standardNC Family Cores. Maximum allowed: 150, Current in use:"
        " 145, Additional requested: 40."
    )

    refused = translate(Refusal("QuotaExceeded", words, 412), SIZE, offering())

    assert "quota 'standardNC Family Cores'" in str(refused)
    assert "limit 150, in use 145, 40 more needed" in str(refused)


def test_operations_in_progress_are_no_quota() -> None:
    refusal = Refusal(
        "OperationNotAllowed",
        "Operation is not allowed because there's an in progress create node pool operation",
        409,
        retry_after=12.0,
    )

    told = translate(refusal, SIZE, offering())

    assert isinstance(told, QueuedError)
    assert told.wait == 12.0


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(
            "ReconcileVMSSAgentPoolFailed",
            'failed: Code="AllocationFailed" Message="no capacity"',
        ),
        Refusal("InvalidTemplateDeployment", "", 400, (Refusal("AllocationFailed", "none"),)),
        Refusal("Wrapped", '{"error": {"code": "AllocationFailed", "message": "none"}}'),
    ],
    ids=["quoted", "in details", "quoted as JSON"],
)
def test_what_aks_wraps_is_found(refusal: Refusal) -> None:
    assert isinstance(translate(refusal, SIZE, offering()), OfferingRefusedError)


@pytest.mark.parametrize("status", [401, 408, 429, 500, 503])
def test_statuses_that_pass(status: int) -> None:
    assert isinstance(translate(Refusal("Whatever", "", status), SIZE, offering()), RefusedError)


def test_case_06_unknown_codes_are_told_as_they_are() -> None:
    told = created_not(Refusal("Brand-New.Code", "never heard", 400))

    assert told.reason == "BrandNewCode"
    assert "Brand-New.Code: never heard" in told.message


def test_remedies_stand_beside_the_words() -> None:
    assert "larger subnet" in created_not(Refusal("SubnetIsFull", "no address left")).message


def test_long_words_are_cut() -> None:
    assert len(created_not(Refusal("X", "y" * 5000)).message) < 250
