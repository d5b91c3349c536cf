"""kopf's webhook server, without the Kubernetes clients that kopf would understand as well, and
with a way to let its own clients go.

kopf imports `kubernetes` where it is installed, only to tell its objects apart, and none of them
ever comes here: that costs 28 MiB in each controller. Whoever needs the package (`kube.config`)
imports it later as usual.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp.web

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
    from kopf import WebhookServer as _KopfServer

__all__ = ["WebhookServer"]


class WebhookServer(_KopfServer):
    """Answers each review on a connection of its own once `last_words` is set.

    An API server keeps its connections open. One that is closed just as it sends a review costs
    that review: a POST is not sent twice. So they end with an answer, not with the process.
    """

    last_words = False

    async def _serve(  # type: ignore[override]  # static there, and asked of the object
        self, fn: Any, request: aiohttp.web.Request
    ) -> aiohttp.web.Response:
        answer: aiohttp.web.Response = await _KopfServer._serve(fn, request)
        if self.last_words:
            answer.force_close()
        return answer
