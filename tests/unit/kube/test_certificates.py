"""Certificates of our own: when they are made anew, and that replicas share them."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kube.certificate_sources import GivenCertificates, SelfMadeCertificates, WebhookTrust
from kube.certificates import AUTHORITY_LIFE, SERVER_LIFE, Issued, renewed
from kube.client import Client
from kube.errors import ConflictError
from kube.meta import Key
from kube.objects import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("webhook.ns.svc", "127.0.0.1")
SECRET = Key("ns", "webhook-cert")


def parsed(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem)


def signed_by_the_first_of(issued: Issued) -> bool:
    try:
        parsed(issued.chain)[0].verify_directly_issued_by(parsed(issued.authorities)[0])
    except (ValueError, TypeError):
        return False
    return True


def test_the_first_certificate_is_for_its_names() -> None:
    issued = renewed(None, NAMES, NOW)
    shown = parsed(issued.chain)[0]
    alternatives = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in alternatives] == list(NAMES)
    assert signed_by_the_first_of(issued)
    assert shown.not_valid_before_utc < NOW < shown.not_valid_after_utc


def test_it_stays_until_two_thirds_of_its_life_are_over() -> None:
    first = renewed(None, NAMES, NOW)
    assert renewed(first, NAMES, NOW + SERVER_LIFE * 0.6) == first
    second = renewed(first, NAMES, NOW + SERVER_LIFE * 0.67)
    assert second.chain != first.chain
    assert second.authorities == first.authorities
    assert signed_by_the_first_of(second)


def test_a_new_authority_is_trusted_beside_the_old_one() -> None:
    first = renewed(None, NAMES, NOW)
    later = NOW + AUTHORITY_LIFE * 0.67
    second = renewed(first, NAMES, later)
    assert parsed(second.authorities)[1:] == parsed(first.authorities)
    assert parsed(second.authorities)[0] != parsed(first.authorities)[0]
    assert signed_by_the_first_of(second)
    third = renewed(second, NAMES, later + SERVER_LIFE)
    assert third.authorities == second.authorities


def test_an_authority_that_is_over_is_trusted_no_longer() -> None:
    first = renewed(None, NAMES, NOW)
    assert len(parsed(renewed(first, NAMES, NOW + AUTHORITY_LIFE * 2).authorities)) == 1


def test_other_names_make_another_certificate() -> None:
    first = renewed(None, NAMES, NOW)
    assert renewed(first, (*NAMES, "other"), NOW).chain != first.chain


@pytest.mark.parametrize("field", ["authorities", "authority_key", "chain"])
def test_what_cannot_be_read_is_made_anew(field: str) -> None:
    broken = replace(renewed(None, NAMES, NOW), **{field: b"garbage"})
    assert signed_by_the_first_of(renewed(broken, NAMES, NOW))


def source(
    client: Client, clock: FakeClock, trust: WebhookTrust | None = None
) -> SelfMadeCertificates:
    return SelfMadeCertificates(client, SECRET, NAMES, trust or WebhookTrust(client), clock)


async def test_replicas_show_the_same(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    one, other = await source(client, clock).current(), await source(client, clock).current()
    assert one == other
    secret = server.get(SECRETS, SECRET.name, SECRET.namespace)
    assert secret is not None
    assert base64.b64decode(secret["data"]["tls.crt"]) == one.chain
    assert set(secret["data"]) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}


async def test_the_certificate_is_rotated_in_the_secret(client: Client, clock: FakeClock) -> None:
    first = await source(client, clock).current()
    clock.advance(SERVER_LIFE.total_seconds() * 0.67)
    second = await source(client, clock).current()
    assert second.chain != first.chain
    assert await source(client, clock).current() == second


async def test_whoever_comes_second_takes_what_the_first_stored(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    stored = await source(client, clock).current()
    clock.advance(timedelta(days=80).total_seconds())
    server.refuse(1, 409, "Conflict", method="PATCH")
    assert (await source(client, clock).current()).chain != stored.chain


async def test_an_endless_conflict_is_told(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    await source(client, clock).current()
    clock.advance(timedelta(days=80).total_seconds())
    server.refuse(100, 409, "Conflict", method="PATCH")
    with pytest.raises(ConflictError):
        await source(client, clock).current()


@pytest.mark.parametrize(
    "data", [{}, {"ca.crt": "?", "ca.key": "?", "tls.crt": "?", "tls.key": "?"}]
)
async def test_a_secret_that_holds_none_is_filled(
    server: FakeApiServer, client: Client, clock: FakeClock, data: dict[str, str]
) -> None:
    metadata = {"name": SECRET.name, "namespace": SECRET.namespace}
    server.put(SECRETS, {"metadata": metadata, "data": data})
    shown = await source(client, clock).current()
    secret = server.get(SECRETS, SECRET.name, SECRET.namespace)
    assert secret is not None
    assert base64.b64decode(secret["data"]["tls.key"]) == shown.key


def bundles(server: FakeApiServer) -> list[str]:
    return [
        webhook["clientConfig"].get("caBundle", "")
        for resource in (VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS)
        for configuration in server.list(resource)
        for webhook in configuration["webhooks"]
    ]


async def test_the_api_server_is_told_whom_to_trust(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    for resource, name in ((VALIDATING_WEBHOOKS, "v"), (MUTATING_WEBHOOKS, "m")):
        webhooks = [{"name": "a", "clientConfig": {}}, {"name": "b", "clientConfig": {}}]
        server.put(resource, {"metadata": {"name": name}, "webhooks": webhooks})
    trust = WebhookTrust(client, validating=["v", "absent"], mutating=["m"])
    shown = await source(client, clock, trust).current()
    assert bundles(server) == [base64.b64encode(shown.authorities).decode()] * 4

    writes = [each for each in server.requests if each.method == "PATCH"]
    await source(client, clock, trust).current()
    assert [each for each in server.requests if each.method == "PATCH"] == writes


async def test_given_certificates_are_read_anew(tmp_path: Path) -> None:
    given = GivenCertificates(tmp_path)
    with pytest.raises(FileNotFoundError):
        await given.current()
    (tmp_path / "tls.crt").write_bytes(b"chain")
    (tmp_path / "tls.key").write_bytes(b"key")
    assert (await given.current()).authorities == b""
    (tmp_path / "tls.crt").write_bytes(b"next")
    assert (await given.current()).chain == b"next"


async def test_a_given_authority_is_published(
    tmp_path: Path, server: FakeApiServer, client: Client
) -> None:
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).write_bytes(name.encode())
    webhooks = [{"name": "a", "clientConfig": {}}]
    server.put(VALIDATING_WEBHOOKS, {"metadata": {"name": "v"}, "webhooks": webhooks})
    await GivenCertificates(tmp_path, WebhookTrust(client, validating=["v"])).current()
    assert bundles(server) == [base64.b64encode(b"ca.crt").decode()]
