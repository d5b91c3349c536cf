"""What the API server refuses, as exceptions.

    KubeError
      UnauthorizedError     401
      ForbiddenError        403
      NotFoundError         404
      ConflictError         409 Conflict       somebody else wrote first: look again
        FieldConflictError  an apply without force found fields of another manager
      AlreadyExistsError    409 AlreadyExists
      GoneError             410 Gone, Expired  a resourceVersion or continue token too old
      InvalidError          400, 413, 422      the request itself is wrong; retrying is useless
      TooManyRequestsError  429                also an eviction that a disruption budget forbids
      ServerError           5xx

Errors of the network are not among them: aiohttp's own pass unchanged, once the client's
retries are spent. A decision asks for the class, or for `reason` and `details`; never for text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PlainError(Exception):
    """Says itself what is wrong: whoever logs it need not show where it came from."""


class KubeError(PlainError):
    """A metav1.Status of status Failure. `status` is the HTTP code, `reason` metav1's word."""

    def __init__(
        self,
        status: int,
        reason: str = "",
        message: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.details: Mapping[str, Any] = details or {}

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asked us to wait, where it did (details.retryAfterSeconds)."""
        seconds = self.details.get("retryAfterSeconds")
        return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None


class UnauthorizedError(KubeError):
    pass


class ForbiddenError(KubeError):
    pass


class NotFoundError(KubeError):
    pass


class AlreadyExistsError(KubeError):
    pass


class ConflictError(KubeError):
    pass


class FieldConflictError(ConflictError):
    pass


class GoneError(KubeError):
    pass


class InvalidError(KubeError):
    pass


class TooManyRequestsError(KubeError):
    pass


class ServerError(KubeError):
    pass


_BY_STATUS: Mapping[int, type[KubeError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: InvalidError,
    422: InvalidError,
    429: TooManyRequestsError,
}
_BY_REASON: Mapping[str, type[KubeError]] = {
    "AlreadyExists": AlreadyExistsError,
    "Expired": GoneError,
    "Gone": GoneError,
}


def from_status(status: Mapping[str, Any], *, code: int = 0) -> KubeError:
    """metav1.Status → exception; `code` is the HTTP status, for a body that names none."""
    code = int(status.get("code") or code)
    reason = str(status.get("reason") or "")
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(code)
    details = status.get("details") or {}
    if kind is ConflictError and any(
        cause.get("reason") == "FieldManagerConflict" for cause in details.get("causes") or ()
    ):
        kind = FieldConflictError
    if kind is None:
        kind = ServerError if code >= 500 else KubeError
    return kind(code, reason, str(status.get("message") or ""), details)
