"""The middleware itself: who may ask, whether the server ends, how much waits; in that order."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import Counter, Gauge

from apis import container, reports
from serving.front import asgi, limit, stages, stop
from serving.front.asgi import App, Message, Receive, Scope, Send
from serving.front.keys import Keys
from serving.front.limit import Limit
from serving.front.stop import Stop

ENV_DRAIN = "KAITO_DRAIN_SECONDS"

REJECTED = Counter("kaito_ratelimit_rejected", "Requests answered 429: too many wait.")
STAGE_SECONDS = Gauge(
    "kaito_startup_stage_seconds",
    "How long each stage of the start took; ready: all of it.",
    ["stage"],
    multiprocess_mode="max",
)
Gauge(
    "kaito_model_download_speed_bytes_per_second",
    "How fast the weights come: they are here.",
    multiprocess_mode="max",
).set(0)
Gauge(
    "kaito_model_download_remaining_seconds",
    "Until the weights are here: they are.",
    multiprocess_mode="max",
).set(0)

_HEALTH = frozenset({container.HEALTH_PATH, "/ping"})
_UNAUTHORIZED = asgi.error(
    "the API key is missing or wrong: send one as `Authorization: Bearer KEY`",
    "invalid_request_error",
    "invalid_api_key",
)
_STOPPING = asgi.error("the server is stopping: ask again", "service_unavailable", "stopping")
_AGAIN = (b"retry-after", b"1")


class Front:
    """`--middleware=serving.front.server.Front`; see the package for its settings."""

    def __init__(self, app: App, environment: Mapping[str, str] = os.environ) -> None:
        self._app = app
        self._environment = environment
        self._keys = Keys(Path(environment.get(container.ENV_API_KEYS_DIR, container.API_KEYS_DIR)))
        told = environment.get(limit.ENV, "")
        self._ask_engine = not told
        self.limit = Limit(int(told) if told.isdigit() else None)
        self.stop = Stop(float(environment.get(ENV_DRAIN) or stop.SECONDS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._started(scope, send))
            return
        path, method = asgi.path(scope), str(scope.get("method", ""))
        if not self._keys.admit(scope, path):
            headers = [(b"www-authenticate", b"Bearer")]
            await asgi.refuse(scope, receive, send, 401, _UNAUTHORIZED, headers)
        elif self.stop.asked and path in _HEALTH:
            await asgi.refuse(scope, receive, send, 503, None)
        elif not limit.guarded(scope["type"], method, path):
            await self._app(scope, receive, send)
        elif self.stop.asked:
            headers = [_AGAIN, (b"connection", b"close")]
            await asgi.refuse(scope, receive, send, 503, _STOPPING, headers)
        elif waiting := self.limit.waiting_beyond():
            REJECTED.inc()
            body = asgi.error(self.limit.words(waiting), "requests", "rate_limit_exceeded")
            headers = [(b"retry-after", b"%d" % self.limit.retry_after())]
            await asgi.refuse(scope, receive, send, 429, body, headers)
        else:
            await self._work(scope, receive, send)

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Until the last byte of the answer is sent, or nobody wants it any more."""
        begun = time.monotonic()
        self.limit.begin()
        self.stop.begin()
        try:
            await self._app(scope, receive, send)
        finally:
            self.limit.end(time.monotonic() - begun)
            self.stop.finish()

    def _started(self, scope: Scope, send: Send) -> Send:
        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._ready(scope)
            await send(message)

        return told

    def _ready(self, scope: Scope) -> None:
        self.stop.take_over()
        if self._ask_engine:
            self.limit.at_once = _engines_own(scope)
        stages.begin(reports.READY, environment=self._environment)
        for stage, seconds in stages.seconds(self._environment).items():
            STAGE_SECONDS.labels(stage).set(seconds)


def _engines_own(scope: Scope) -> int | None:
    """What vLLM works on at once, over all its ranks; None where the server is another one, or a
    release keeps it elsewhere."""
    try:
        found = scope["app"].state.engine_client.vllm_config
        return int(found.scheduler_config.max_num_seqs * found.parallel_config.data_parallel_size)
    except (KeyError, AttributeError, TypeError):
        return None
