"""What can go wrong, as the caller is told: a status, and a sentence. Never a traceback.

RagError
├── BadRequestError 400           as upstream words it
├── UnauthorizedError 401
├── UnknownIndexError 404, NotFoundError 404
├── IndexExistsError 409
├── TooLargeError 413
├── InvalidError 422              names the field
├── BusyError 429                 says when to come again
├── EmbedderError, LlmError       502; 504 where it took too long
│   ├── ModelError                a model of our own
│   └── RefusedError              a text that the service does not take
└── NotReadyError, NotWritableError, NoLlmError, StorageError   503; 507 where the disk is full
"""

from __future__ import annotations


class RagError(Exception):
    """Becomes `{"detail": detail}` with `status`."""

    status = 500

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Seconds; the header Retry-After where it is not None."""


class BadRequestError(RagError):
    status = 400


class UnauthorizedError(RagError):
    status = 401


class NotFoundError(RagError):
    status = 404


class UnknownIndexError(NotFoundError):
    def __init__(self, name: str) -> None:
        super().__init__(f"No such index: '{name}' exists.")
        self.name = name


class IndexExistsError(RagError):
    status = 409


class TooLargeError(RagError):
    status = 413


class InvalidError(RagError):
    """A field that does not fit, as FastAPI reports those that pydantic finds."""

    status = 422

    def __init__(self, message: str, *field: str | int) -> None:
        super().__init__(message)
        self.field = field
        """The path, as ("body", "documents", 3, "text")."""


class BusyError(RagError):
    status = 429


class _AnotherServiceError(RagError):
    status = 502

    def __init__(self, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(detail)
        if timed_out:
            self.status = 504


class EmbedderError(_AnotherServiceError):
    """The embedding service is down, slow, or answers what is no vector of the right size."""


class ModelError(EmbedderError):
    """A model of our own cannot be had or loaded: waiting does not mend it."""


class RefusedError(EmbedderError):
    """The service is well, and does not take this text."""


class LlmError(_AnotherServiceError):
    """The inference service is down, slow, or answers what is no completion."""


class NotReadyError(RagError):
    """An index is still being restored."""

    status = 503


class NotWritableError(RagError):
    """Another process holds the files."""

    status = 503


class NoLlmError(RagError):
    status = 503


class StorageError(RagError):
    """The files cannot be read or written."""

    status = 503


class StorageFullError(StorageError):
    status = 507
