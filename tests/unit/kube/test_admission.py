"""The webhook server on loopback, with real handshakes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from kube.admission import (
    LOOK_SECONDS,
    RETRY_SECONDS,
    AdmissionRequest,
    AdmissionResponse,
    AdmissionServer,
    Webhook,
)
from kube.certificates import Certificate, Issued, renewed
from tests.fakes.clock import FakeClock, settle


class Source:
    """Certificates as a test says; `refuse` makes the next look fail."""

    def __init__(self) -> None:
        self.issued: Issued = renewed(None, ["localhost", "127.0.0.1"], datetime.now(UTC))
        self.shown: Certificate = self.issued.certificate
        self.refuse = False

    async def current(self) -> Certificate:
        if self.refuse:
            raise OSError("the API server is away")
        return self.shown


class Gate:
    """A review that waits for the test."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def review(self, request: AdmissionRequest) -> AdmissionResponse:
        self.entered.set()
        await self.open.wait()
        return AdmissionResponse.allow()


async def judge(request: AdmissionRequest) -> AdmissionResponse:
    if request.name == "bad":
        return AdmissionResponse.deny("spec: is bad")
    if request.name == "broken":
        raise LookupError("a bug of ours")
    return AdmissionResponse.allow()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def server(source: Source, gate: Gate, clock: FakeClock) -> AsyncIterator[AdmissionServer]:
    webhooks = [Webhook("/validate/x", judge), Webhook("/slow", gate.review)]
    server = AdmissionServer(webhooks, source, port=0, host="127.0.0.1", clock=clock)
    running = asyncio.create_task(server.run())
    await asyncio.wait_for(server.ready.wait(), 5)
    yield server
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not server.ready.is_set()


def trusting(source: Source) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=source.shown.authorities.decode())


async def post(
    server: AdmissionServer, path: str, context: ssl.SSLContext, body: Any
) -> tuple[int, Any]:
    url = f"https://127.0.0.1:{server.port}{path}"
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(url, json=body) as response,
    ):
        status = response.status
        answer = await response.json() if status == 200 else await response.text()
    return status, answer


def review(name: str = "good") -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u1", "operation": "CREATE", "name": name, "object": {}},
    }


async def serial(server: AdmissionServer, context: ssl.SSLContext) -> int:
    """Of the certificate that a new handshake shows."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(shown).serial_number


def serial_of(certificate: Certificate) -> int:
    return x509.load_pem_x509_certificates(certificate.chain)[0].serial_number


async def test_reviews_are_routed_by_path(server: AdmissionServer, source: Source) -> None:
    context = trusting(source)
    status, answer = await post(server, "/validate/x", context, review())
    assert (status, answer["response"]) == (200, {"uid": "u1", "allowed": True})
    _, answer = await post(server, "/validate/x", context, review("bad"))
    assert answer["response"]["status"]["message"] == "spec: is bad"
    status, _ = await post(server, "/validate/y", context, review())
    assert status == 404


async def test_who_is_let_go_is_answered_and_comes_on_another_connection(
    server: AdmissionServer, source: Source
) -> None:
    connector = aiohttp.TCPConnector(ssl=trusting(source))
    url = f"https://127.0.0.1:{server.port}/validate/x"
    async with aiohttp.ClientSession(connector=connector) as session:
        closing = []
        for last_words in (False, True, True):
            if last_words:
                server.let_go()
            async with session.post(url, json=review()) as response:
                assert response.status == 200
                closing.append(response.headers.get("Connection") == "close")
    assert closing == [False, True, True]


async def test_what_is_no_review_is_refused(server: AdmissionServer, source: Source) -> None:
    status, _ = await post(server, "/validate/x", trusting(source), {"kind": "Other"})
    assert status == 400


async def test_a_bug_is_an_error_not_a_verdict(server: AdmissionServer, source: Source) -> None:
    status, _ = await post(server, "/validate/x", trusting(source), review("broken"))
    assert status == 500


async def test_who_does_not_trust_us_is_not_answered(server: AdmissionServer) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await post(server, "/validate/x", ssl.create_default_context(), review())


async def test_rotation_drops_no_review_and_shows_in_new_handshakes(
    server: AdmissionServer, source: Source, gate: Gate, clock: FakeClock
) -> None:
    context = trusting(source)
    before = serial_of(source.shown)
    assert await serial(server, context) == before
    in_flight = asyncio.create_task(post(server, "/slow", context, review()))
    await asyncio.wait_for(gate.entered.wait(), 5)

    source.shown = renewed(
        source.issued, ["localhost", "127.0.0.1", "other"], datetime.now(UTC)
    ).certificate
    await clock.pass_(LOOK_SECONDS, step=LOOK_SECONDS)

    after = await serial(server, context)
    assert after == serial_of(source.shown)
    assert after != before
    gate.open.set()
    status, answer = await asyncio.wait_for(in_flight, 5)
    assert (status, answer["response"]["allowed"]) == (200, True)


@pytest.mark.parametrize("trouble", ["away", "mismatch"])
async def test_what_is_shown_stays_while_there_is_nothing_better(
    server: AdmissionServer, source: Source, clock: FakeClock, trouble: str
) -> None:
    before, context = serial_of(source.shown), trusting(source)
    if trouble == "away":
        source.refuse = True
    else:
        other = renewed(None, ["localhost"], datetime.now(UTC))
        source.shown = Certificate(other.chain, source.shown.key, source.shown.authorities)
    await clock.pass_(LOOK_SECONDS, step=LOOK_SECONDS)
    assert await serial(server, context) == before
    assert server.ready.is_set()


async def test_not_ready_before_there_is_a_certificate(source: Source, clock: FakeClock) -> None:
    source.refuse = True
    server = AdmissionServer([], source, port=0, host="127.0.0.1", clock=clock)
    running = asyncio.create_task(server.run())
    await settle()
    assert not server.ready.is_set()
    source.refuse = False
    clock.advance(RETRY_SECONDS)
    await asyncio.wait_for(server.ready.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_keys_are_not_left_behind(
    source: Source, clock: FakeClock, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = AdmissionServer([], source, port=0, host="127.0.0.1", clock=clock)
    running = asyncio.create_task(server.run())
    await asyncio.wait_for(server.ready.wait(), 5)
    keys = [path for path in tmp_path.rglob("*.key")]
    assert keys
    assert {path.stat().st_mode & 0o077 for path in keys} == {0}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert list(tmp_path.iterdir()) == []
