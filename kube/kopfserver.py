"""kopf's webhook server, without the Kubernetes clients that kopf would understand as well.

kopf imports `kubernetes` where it is installed, only to tell its objects apart, and none of them
ever comes here: that costs 28 MiB in each controller. Whoever needs the package (`kube.config`)
imports it later as usual.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OPTIONAL = "kubernetes"


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Not to be found by imports meanwhile; nothing changes where it was imported before."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # what makes `import` fail (sys.modules)
    try:
        yield
    finally:
        del sys.modules[name]


with _hidden(_OPTIONAL):
    from kopf import WebhookServer

__all__ = ["WebhookServer"]
