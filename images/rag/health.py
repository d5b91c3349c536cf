"""Whether the service can answer, from the first moment of the process to its last."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi.responses import JSONResponse, Response
from serving.front import asgi
from serving.front.asgi import App, Message, Receive, Scope, Send

from apis import container
from rag import answers
from rag.errors import NotReadyError
from rag.metrics import Metrics, exposed

_AGAIN = 2.0
"""Seconds after which it is worth to ask again, while indexes are restored."""


@dataclass(slots=True)
class Health:
    """What `/health` says: nothing where all is well."""

    problem: str | None = None

    def answer(self) -> JSONResponse:
        if self.problem is None:
            return JSONResponse({"status": "Healthy", "detail": None})
        return JSONResponse({"status": "Unhealthy", "detail": self.problem}, 503)


class Entrance:
    """In front of an app that does not exist yet, and of one that ends.

    While models and indexes are loaded it says so itself, at once, since a probe or a client that
    finds nobody there cannot tell a start from a fault. After SIGTERM the app goes on answering,
    as whoever routes requests here learns of it a little later, but each answer ends its
    connection: the next request goes to somebody else.
    """

    def __init__(self, health: Health, metrics: Metrics | None = None) -> None:
        """`metrics` are told while there is no app."""
        self.health = health
        self._metrics = metrics
        self.app: App | None = None
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        sending = self._last(send) if self.stopping else send
        path = asgi.path(scope)
        if path == container.RAG_LIVE_PATH:
            await live()(scope, receive, sending)
        elif path == container.HEALTH_PATH:
            await self.health.answer()(scope, receive, sending)
        elif self.app is not None:
            await self.app(scope, receive, sending)
        elif path == container.METRICS_PATH and self._metrics is not None:
            text, content_type = exposed(self._metrics.registry, "")
            answer = Response(text, headers={"Content-Type": content_type})
            await answer(scope, receive, sending)
        else:
            problem = (self.health.problem or "starting").removesuffix(".")
            error = NotReadyError(f"Not ready: {problem}.", retry_after=_AGAIN)
            await answers.refuse(scope, receive, sending, error)

    def _last(self, send: Send) -> Send:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return told


def live() -> Response:
    """The process turns over; nothing else is asked."""
    return JSONResponse({"status": "Alive"})
