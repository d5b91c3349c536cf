"""The machines API's error codes → the refusals of the contract."""

from __future__ import annotations

from http import HTTPStatus

from cloudproviders.errors import (
    CloudError,
    CloudUnavailableError,
    CreateError,
    NodeClaimNotFoundError,
    OfferingRefusedError,
)
from cloudproviders.unavailable import Scope

STOCK_OUTS = frozenset({"InsufficientCapacity", "UnknownInstanceType"})
"""Of the type that was asked for; another may be had."""

STOCK_OUT_SECONDS = 15.0
"""The machines of one host come back sooner than a cloud's, and asking costs nothing."""

TRANSIENT = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,  # the token is being rotated
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


class MachinesError(CloudUnavailableError):
    """The machines API failed itself, or does not want us now."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"machines API: {status} {code}: {message}")
        self.status = status
        self.code = code


def error(status: int, code: str, message: str, *, instance_type: str = "") -> CloudError:
    """What to raise for an answer of the machines API to a request for `instance_type`.

    A code that is new to us stands in the message, where the user can look it up.
    """
    if code == "NotFound":
        return NodeClaimNotFoundError(message)
    if code in STOCK_OUTS:
        return OfferingRefusedError(
            message, Scope(instance_type=instance_type), ttl=STOCK_OUT_SECONDS
        )
    if status in TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return MachinesError(status, code, message)
    return CreateError(code or f"HTTP{status}", f"machines API: {status} {code}: {message}")
