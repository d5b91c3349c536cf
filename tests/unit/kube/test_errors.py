import pytest

from kube import errors


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.InvalidError),
        (401, "Unauthorized", errors.UnauthorizedError),
        (403, "Forbidden", errors.ForbiddenError),
        (404, "NotFound", errors.NotFoundError),
        (409, "Conflict", errors.ConflictError),
        (409, "AlreadyExists", errors.AlreadyExistsError),
        (410, "Gone", errors.GoneError),
        (410, "Expired", errors.GoneError),
        (413, "RequestEntityTooLarge", errors.InvalidError),
        (422, "Invalid", errors.InvalidError),
        (429, "TooManyRequests", errors.TooManyRequestsError),
        (500, "InternalError", errors.ServerError),
        (503, "ServiceUnavailable", errors.ServerError),
        (504, "Timeout", errors.ServerError),
        (405, "MethodNotAllowed", errors.KubeError),
    ],
)
def test_each_refusal_has_its_class(code: int, reason: str, kind: type) -> None:
    error = errors.from_status({"code": code, "reason": reason, "message": "no"})
    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (code, reason, "no")


def test_the_http_code_speaks_where_the_body_does_not() -> None:
    assert type(errors.from_status({"message": "<html>"}, code=502)) is errors.ServerError


@pytest.mark.parametrize(
    ("causes", "kind"),
    [
        (
            [{"reason": "FieldManagerConflict", "field": ".spec.replicas"}],
            errors.FieldConflictError,
        ),
        ([{"reason": "Other"}], errors.ConflictError),
        (None, errors.ConflictError),
    ],
)
def test_a_conflict_over_fields_is_told_from_one_over_versions(
    causes: list | None, kind: type
) -> None:
    status = {"code": 409, "reason": "Conflict", "details": {"causes": causes}}
    error = errors.from_status(status)
    assert type(error) is kind
    assert isinstance(error, errors.ConflictError)


@pytest.mark.parametrize(
    ("details", "seconds"),
    [({"retryAfterSeconds": 3}, 3.0), ({"retryAfterSeconds": 0}, None), ({}, None), (None, None)],
)
def test_retry_after_comes_from_the_details(details: dict | None, seconds: float | None) -> None:
    assert errors.from_status({"code": 429, "details": details}).retry_after == seconds
