"""The webhook server. kopf's WebhookServer is its shell; certificates change beneath it.

kopf would restart its site when certificate files change, which drops the reviews in flight.
It takes a TLS context, however, and never looks at it again: we load the next certificate into
the live context, and new handshakes show it while open connections go on
(docs/designs/20261121-admission.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import aiohttp.web

from kube import reviews
from kube.certificate_sources import CertificateSource
from kube.certificates import Certificate
from kube.clock import Clock
from kube.errors import KubeError
from kube.kopfserver import WebhookServer
from kube.reviews import AdmissionRequest, AdmissionResponse, MalformedReviewError

__all__ = ["AdmissionRequest", "AdmissionResponse", "AdmissionServer", "Webhook"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
RETRY_SECONDS = 5.0
_TROUBLE = (KubeError, aiohttp.ClientError, OSError, TimeoutError)
"""What passes: the API server is away, a file is being replaced (ssl.SSLError is an OSError)."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """What answers under a path, as `/validate/workspace.kaito.sh`."""

    path: str
    review: Callable[[AdmissionRequest], Awaitable[AdmissionResponse]]


class AdmissionServer:
    """Serves webhooks over TLS until cancelled. `port` 0 takes a free one, told once `ready`."""

    def __init__(
        self,
        webhooks: Iterable[Webhook],
        certificates: CertificateSource,
        port: int = 9443,
        host: str = "0.0.0.0",
        clock: Clock | None = None,
    ) -> None:
        self._webhooks = {webhook.path: webhook.review for webhook in webhooks}
        self._certificates = certificates
        self._host = host
        self._clock = clock or Clock()
        self._shown: Certificate | None = None
        self.port = port
        self.ready = asyncio.Event()
        self._server: WebhookServer | None = None

    def let_go(self) -> None:
        """Answer on, but send clients elsewhere with each answer: the end is near."""
        if self._server is not None:
            self._server.last_words = True

    async def run(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory(prefix="webhook-") as directory:
            files = _Files(Path(directory))
            while not await self._refresh(context, files):
                await self._clock.sleep(RETRY_SECONDS)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._serve(context, files))
                tasks.create_task(self._keep_fresh(context, files))

    async def _keep_fresh(self, context: ssl.SSLContext, files: _Files) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self._refresh(context, files)

    async def _refresh(self, context: ssl.SSLContext, files: _Files) -> bool:
        """Show what the source says; whether that worked. What is shown stays where it did not."""
        try:
            wanted = await self._certificates.current()
            if wanted != self._shown:
                files.load(wanted, context)
        except _TROUBLE as error:
            log.warning("no new webhook certificate now: %s", error)
            return False
        self._shown = wanted
        return True

    async def _serve(self, context: ssl.SSLContext, files: _Files) -> None:
        self._server = server = WebhookServer(
            addr=self._host,
            port=self.port or None,
            context=context,
            # kopf loads these once more, and restarts if they change: they never do.
            certfile=files.first_chain,
            pkeyfile=files.first_key,
        )
        try:
            async with server:
                async for config in server(self._answer):
                    self.port = urlsplit(config["url"]).port or self.port
                    self.ready.set()
        finally:
            self.ready.clear()
            self._server = None

    async def _answer(
        self,
        request: Any,
        *,
        webhook: str | None = None,
        headers: Mapping[str, str] | None = None,
        sslpeer: Mapping[str, Any] | None = None,
    ) -> Any:
        """One review, as kopf hands it over; aiohttp's errors become the HTTP answer."""
        decide = self._webhooks.get(f"/{webhook or ''}")
        if decide is None:
            raise aiohttp.web.HTTPNotFound(reason="no such webhook")
        try:
            asked = reviews.read(request)
        except MalformedReviewError as error:
            raise aiohttp.web.HTTPBadRequest(reason=str(error)) from error
        return reviews.write(asked, await decide(asked))


class _Files:
    """OpenSSL takes certificates from files only: these last as long as the server does."""

    def __init__(self, directory: Path) -> None:
        self.first_chain = directory / "first.crt"
        self.first_key = directory / "first.key"
        self._next_chain = directory / "next.crt"
        self._next_key = directory / "next.key"

    def load(self, certificate: Certificate, context: ssl.SSLContext) -> None:
        """Raises ssl.SSLError where chain and key do not belong together."""
        _write(self._next_chain, certificate.chain)
        _write(self._next_key, certificate.key)
        # A pair that does not match would leave the live context with half of it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._next_chain, self._next_key)
        context.load_cert_chain(self._next_chain, self._next_key)
        if not self.first_chain.exists():
            _write(self.first_chain, certificate.chain)
            _write(self.first_key, certificate.key)


def _write(path: Path, content: bytes) -> None:
    """For the owner's eyes alone."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
