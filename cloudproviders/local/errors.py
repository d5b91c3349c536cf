"""The machines API's error codes → the refusals of the contract."""

from __future__ import annotations

from cloudproviders.errors import (
    CloudError,
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    NodeClaimNotFoundError,
)

REFUSALS: dict[str, type[CloudError]] = {
    "NotFound": NodeClaimNotFoundError,
    "InsufficientCapacity": InsufficientCapacityError,
    "UnknownInstanceType": InsufficientCapacityError,
    "NameInUse": CreateError,
    "InvalidRequest": CreateError,
}
"""Codes that are missing here (Unauthorized, Internal …) are faults, not refusals."""


class MachinesError(CloudUnavailableError):
    """The machines API failed in a way that the contract has no word for."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"machines API: {status} {code}: {message}")
        self.status = status
        self.code = code


def error(status: int, code: str, message: str) -> CloudError:
    """What to raise for an answer of the machines API."""
    kind = REFUSALS.get(code)
    if kind is None:
        return MachinesError(status, code, message)
    if kind is CreateError:
        return CreateError(code, message)
    return kind(message)
