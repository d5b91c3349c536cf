"""Microsoft Entra's token endpoint, and a credential for tests that need no endpoint."""

from __future__ import annotations

import itertools
import time
from typing import Any

from aiohttp import web
from azure.core.credentials import AccessToken

from kube.clock import Clock
from tests.fakes.arm.wire import Refusal

SECRET = "emulator"
"""The client secret that the endpoint accepts; of workload identity it accepts any assertion."""


class Tokens:
    """Which bearer tokens are good, and until when. `away`: the endpoint answers 503."""

    def __init__(self, clock: Clock) -> None:
        self.away = False
        self.life = 3600.0
        """Seconds that a new token is good for."""
        self._clock = clock
        self._good: dict[str, float] = {}
        self._numbers = itertools.count(1)

    def issue(self, life: float | None = None) -> str:
        token = f"token-{next(self._numbers)}"
        self._good[token] = self._clock.monotonic() + (self.life if life is None else life)
        return token

    def expire_all(self) -> None:
        self._good.clear()

    def check(self, authorization: str) -> None:
        """As ARM refuses what it does not believe."""
        kind, _, token = authorization.partition(" ")
        if kind != "Bearer" or not token:
            raise Refusal(401, "AuthenticationFailed", "the Authorization header is missing")
        if self._good.get(token, 0.0) <= self._clock.monotonic():
            raise Refusal(401, "ExpiredAuthenticationToken", "the access token has expired")

    async def sell(self, request: web.Request) -> web.Response:
        """POST /{tenant}/oauth2/v2.0/token, grant client_credentials."""
        if self.away:
            return web.json_response({"error": "temporarily_unavailable"}, status=503)
        form = await request.post()
        if form.get("client_secret") != SECRET and not form.get("client_assertion"):
            refusal = {"error": "invalid_client", "error_description": "AADSTS7000215: no"}
            return web.json_response(refusal, status=401)
        return web.json_response(
            {
                "token_type": "Bearer",
                "expires_in": int(self.life),
                "access_token": self.issue(),
            }
        )


class TestCredential:
    """Stands in for azure-identity's: straight to the emulator's tokens."""

    __test__ = False

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.asked = 0

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.asked += 1
        return AccessToken(self._tokens.issue(), int(time.time() + self._tokens.life))

    async def close(self) -> None:
        """Nothing is held."""

    async def __aenter__(self) -> TestCredential:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
