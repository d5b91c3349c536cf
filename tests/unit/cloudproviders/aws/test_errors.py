"""AWS's codes: every one has a meaning, and nobody reads a message to find it."""

from __future__ import annotations

import pytest

from cloudproviders.aws import errors
from cloudproviders.aws.errors import Kind
from cloudproviders.errors import CloudUnavailableError, CreateError


@pytest.mark.parametrize("code", sorted(errors.MEANINGS))
def test_every_code_of_the_table_has_its_kind(code: str) -> None:
    meaning = errors.MEANINGS[code]

    refused = errors.error(code, "words", 400, "ec2:CreateFleet")

    if code in errors.CREDENTIALS or meaning.kind is Kind.TRANSIENT:
        assert type(refused) is CloudUnavailableError
    else:
        assert isinstance(refused, errors.ServiceError)
        assert refused.code == code
        assert refused.reason.replace("_", "").isalnum()
    assert "words" in str(refused)
    assert "ec2:CreateFleet" in str(refused)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InsufficientInstanceCapacity", Kind.OFFERING),
        ("UnfulfillableCapacity", Kind.OFFERING),
        ("Unsupported", Kind.OFFERING),
        ("ReservationCapacityExceeded", Kind.OFFERING),
        ("InsufficientFreeAddressesInSubnet", Kind.SUBNET),
        ("VcpuLimitExceeded", Kind.QUOTA),
        ("MaxSpotInstanceCountExceeded", Kind.QUOTA),
        ("MaxFleetCountExceeded", Kind.QUOTA),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", Kind.SPOT),
        ("UnauthorizedOperation", Kind.CONFIGURATION),
        ("RequestLimitExceeded", Kind.TRANSIENT),
    ],
)
def test_karpenters_table(code: str, kind: Kind) -> None:
    assert errors.meaning_of(code).kind is kind


def test_an_unknown_code_is_told_as_it_is() -> None:
    refused = errors.error("Brand.NewCode", "words", 400, "ec2:CreateFleet")

    assert isinstance(refused, CreateError)
    assert refused.reason == "Brand_NewCode"
    assert refused.message == "ec2:CreateFleet: Brand.NewCode: words"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_the_server_fails_of_is_transient_by_its_status(status: int) -> None:
    assert type(errors.error("New", "m", status, "a")) is CloudUnavailableError


def test_what_iam_has_encoded_is_not_told() -> None:
    refused = errors.error(
        "UnauthorizedOperation",
        "You may not: ec2:RunInstances. Encoded authorization failure message: TopSecret",
        403,
        "ec2:CreateFleet",
    )

    assert "ec2:RunInstances" in str(refused)
    assert "docs/clouds/aws.md" in str(refused)
    assert "TopSecret" not in str(refused)


def test_the_border_lets_no_vendor_error_through() -> None:
    with pytest.raises(CreateError) as caught, errors.told():
        raise errors.ServiceError("InvalidAMIID.NotFound", "ami-1", "ec2:CreateFleet")

    assert type(caught.value) is CreateError
    assert caught.value.reason == "AMINotFound"
