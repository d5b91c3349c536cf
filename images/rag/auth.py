"""Who may ask: whoever shows one of the mounted keys, where any are."""

from __future__ import annotations

from serving.front import asgi
from serving.front.asgi import App, Receive, Scope, Send
from serving.front.keys import Keys

from apis import container
from rag import answers
from rag.errors import UnauthorizedError

OPEN = frozenset(
    {container.HEALTH_PATH, container.METRICS_PATH, container.RAG_LIVE_PATH, "/docs"}
    | {"/openapi.json"}
)
"""Probes and Prometheus bring no key. The description of the routes is the same everywhere, and
a browser could not show one for it."""
UI = "/ui"
"""Its files are public; what they call is not, and a key is typed in there."""
KEYED = "rag.keyed"
"""In the scope of a request that showed a key which is known."""
_WORDS = "The API key is missing or wrong: send one as 'Authorization: Bearer KEY'."


class Authorized:
    """Before the limits: who has no key cannot use up those of others."""

    def __init__(self, app: App, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = asgi.path(scope) if scope["type"] == "http" else ""
        if scope["type"] != "http" or is_open(scope, path):
            await self._app(scope, receive, send)
            return
        if self._keys.admit(scope, path):
            scope[KEYED] = self._keys.asked
            await self._app(scope, receive, send)
            return
        headers = {"WWW-Authenticate": "Bearer"}
        await answers.refuse(scope, receive, send, UnauthorizedError(_WORDS), headers)


def is_open(scope: Scope, path: str) -> bool:
    reads = scope["method"] in ("GET", "HEAD")
    return reads and (path in OPEN or path == UI or path.startswith(f"{UI}/"))
