"""The API server's refusals → those of the contract: for kwok, the API server is the cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from cloudproviders.errors import CloudUnavailableError, CreateError
from kube.errors import KubeError

TRANSIENT = frozenset({401, 408, 409, 410, 429})
"""HTTP status codes, besides 5xx, after which the same request may succeed."""


@contextmanager
def refusals() -> Iterator[None]:
    """Raises CloudUnavailableError for what may pass, CreateError with metav1's reason for what
    will not (Forbidden, Invalid …)."""
    try:
        yield
    except KubeError as refused:
        if refused.status in TRANSIENT or refused.status >= 500:
            raise CloudUnavailableError(f"API server: {refused}") from refused
        reason = refused.reason or f"HTTP{refused.status}"
        raise CreateError(reason, f"API server: {refused}") from refused
    except (aiohttp.ClientError, TimeoutError, OSError) as failed:
        raise CloudUnavailableError(f"API server: {type(failed).__name__}: {failed}") from failed
