"""Where a webhook server's certificate comes from, and who is told whom to trust.

A source is asked again and again; it answers with what is to be shown now. Before it names a
certificate, the API server has been told of its authority: the order is what lets a rotation
pass without a refused handshake.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from kube.certificates import Certificate, Issued, renewed
from kube.client import Client
from kube.clock import Clock
from kube.errors import AlreadyExistsError, ConflictError
from kube.meta import Key, Manifest, Resource
from kube.objects import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS, Secret
from kube.objects import WebhookConfiguration as Configuration

log = logging.getLogger(__name__)

_FIELDS = {"authorities": "ca.crt", "authority_key": "ca.key", "chain": "tls.crt", "key": "tls.key"}
_ATTEMPTS = 5


class CertificateSource(Protocol):
    """Says which certificate to show now."""

    async def current(self) -> Certificate: ...


class WebhookTrust:
    """Puts our authorities into the webhook configurations of the given names, by server-side
    apply, so that nothing else in them becomes ours. A configuration that is absent is skipped:
    whoever installs it later is served by the next look."""

    def __init__(
        self, client: Client, *, validating: Iterable[str] = (), mutating: Iterable[str] = ()
    ) -> None:
        self._client = client
        self._configurations: tuple[tuple[Resource[Configuration], str], ...] = (
            *((VALIDATING_WEBHOOKS, name) for name in validating),
            *((MUTATING_WEBHOOKS, name) for name in mutating),
        )

    async def publish(self, authorities: bytes) -> None:
        bundle = base64.b64encode(authorities).decode()
        for resource, name in self._configurations:
            live = await self._client.get(resource, name)
            if live is None or all(
                each.client_config.ca_bundle == bundle for each in live.webhooks
            ):
                continue
            await self._client.apply(
                {
                    "apiVersion": resource.api_version,
                    "kind": resource.kind,
                    "metadata": {"name": name},
                    "webhooks": [
                        {"name": each.name, "clientConfig": {"caBundle": bundle}}
                        for each in live.webhooks
                    ],
                }
            )
            log.info("%s %s trusts our webhook certificates", resource.kind, name)


class SelfMadeCertificates:
    """Made by ourselves and kept in a Secret, so that all replicas show the same.

    `names` are the DNS names and addresses under which the server is reached.
    """

    def __init__(
        self,
        client: Client,
        secret: Key,
        names: Iterable[str],
        trust: WebhookTrust,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._secret = secret
        self._names = tuple(names)
        self._trust = trust
        self._clock = clock or Clock()

    async def current(self) -> Certificate:
        """Raises ConflictError where other replicas keep writing first."""
        for _ in range(_ATTEMPTS):
            live = await self._client.get(SECRETS, self._secret.name, self._secret.namespace)
            kept = _decoded(live) if live else None
            wanted = renewed(kept, self._names, self._clock.now())
            if wanted != kept and not await self._store(wanted, live):
                continue
            await self._trust.publish(wanted.authorities)
            return wanted.certificate
        raise ConflictError(409, "Conflict", f"Secret {self._secret} is written by others")

    async def _store(self, wanted: Issued, live: Secret | None) -> bool:
        """False where somebody else was first."""
        data = {
            key: base64.b64encode(getattr(wanted, field)).decode() for field, key in _FIELDS.items()
        }
        metadata: Manifest = {"name": self._secret.name, "namespace": self._secret.namespace}
        try:
            if live is None:
                secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
                await self._client.create({**secret, "metadata": metadata, "data": data})
            else:
                lock = {"resourceVersion": live.metadata.resource_version}
                await self._client.patch(
                    SECRETS,
                    self._secret.name,
                    {"metadata": lock, "data": data},
                    namespace=self._secret.namespace,
                )
        except (AlreadyExistsError, ConflictError):
            return False
        log.info("stored a new webhook certificate in Secret %s", self._secret)
        return True


class GivenCertificates:
    """tls.crt, tls.key and, where the API server is to be told, ca.crt of a directory.

    Read anew each time, so that a mounted Secret may change. Raises OSError while a file is
    missing. Without ca.crt whoever gave the certificate tells the API server as well.
    """

    def __init__(self, directory: Path, trust: WebhookTrust | None = None) -> None:
        self._directory = directory
        self._trust = trust

    async def current(self) -> Certificate:
        authority = self._directory / "ca.crt"
        given = Certificate(
            chain=(self._directory / "tls.crt").read_bytes(),
            key=(self._directory / "tls.key").read_bytes(),
            authorities=authority.read_bytes() if authority.exists() else b"",
        )
        if given.authorities and self._trust is not None:
            await self._trust.publish(given.authorities)
        return given


def _decoded(secret: Secret) -> Issued | None:
    """None where a part is missing or no base64, as in a Secret that a chart made empty."""
    if not all(secret.data.get(key) for key in _FIELDS.values()):
        return None
    try:
        return Issued(
            **{
                field: base64.b64decode(secret.data[key], validate=True)
                for field, key in _FIELDS.items()
            }
        )
    except binascii.Error:
        return None
