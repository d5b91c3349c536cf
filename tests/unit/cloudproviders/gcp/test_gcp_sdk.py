"""Credentials, the wire, and what becomes of Google's exceptions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from cloudproviders.gcp import sdk
from cloudproviders.gcp.errors import GoogleError, Kind
from cloudproviders.gcp.sdk import DefaultCredentials, GkeCluster
from cloudproviders.gcp.settings import GcpSettings, from_settings
from tests.fakes.gke.gke import Fate, Gke, Refusal, busy
from tests.fakes.gke.server import Fault, GkeServer

ORDER = {
    "name": "ws1",
    "locations": ["us-central1-a"],
    "config": {"machine_type": "g2-standard-4", "resource_labels": {"a": "b"}},
}


def settings(server: GkeServer) -> GcpSettings:
    return from_settings({**server.gke.endpoint_settings(), "GCP_ENDPOINT": server.url})


@pytest.fixture
async def server() -> AsyncIterator[GkeServer]:
    async with GkeServer(Gke()) as server:
        yield server


@pytest.fixture
async def cluster(server: GkeServer) -> AsyncIterator[GkeCluster]:
    cluster = GkeCluster(settings(server), sdk.anonymous)
    yield cluster
    await cluster.close()


async def test_a_pool_there_and_back(cluster: GkeCluster) -> None:
    await cluster.create(ORDER)

    pool = (await cluster.pools())["ws1"]
    (operation,) = await cluster.operations()

    assert (pool.name, pool.state, pool.machine_type) == ("ws1", "PROVISIONING", "g2-standard-4")
    assert pool.resource_labels == {"a": "b"}
    assert (operation.kind, operation.pool, operation.done) == ("CREATE_NODE_POOL", "ws1", False)
    assert (await cluster.facts()).locations == ("us-central1-a", "us-central1-b")


async def test_operations_of_other_clusters_are_not_ours(
    server: GkeServer, cluster: GkeCluster
) -> None:
    await cluster.create(ORDER)
    (operation,) = server.gke.operations.values()
    operation.target_link = operation.target_link.replace("/emulator/", "/emulator-2/")

    assert await cluster.operations() == []


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (busy("operation-1"), Kind.BUSY),
        (Refusal("RESOURCE_EXHAUSTED", "slow", "RATE_LIMIT_EXCEEDED", 2.5), Kind.TRANSIENT),
        (Refusal("INTERNAL", "oops"), Kind.TRANSIENT),
        (Refusal("PERMISSION_DENIED", "no", "IAM_PERMISSION_DENIED"), Kind.CONFIGURATION),
    ],
)
async def test_a_refusal_keeps_status_reason_and_pause(
    server: GkeServer, cluster: GkeCluster, refusal: Refusal, kind: Kind
) -> None:
    server.gke.fates.append(Fate(refusal=refusal))

    with pytest.raises(GoogleError) as raised:
        await cluster.create(ORDER)

    told = raised.value
    assert (told.status, told.reason, told.kind) == (refusal.status, refusal.reason, kind)
    assert told.message == refusal.message
    assert told.retry_after == refusal.retry_after


async def test_a_call_is_made_once(server: GkeServer, cluster: GkeCluster) -> None:
    server.faults.append(Fault(lost="before"))

    with pytest.raises(GoogleError):
        await cluster.pools()

    assert server.counts["ListNodePools"] == 1


async def test_a_cloud_that_does_not_answer_is_given_up(
    server: GkeServer, cluster: GkeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "READ_SECONDS", 0.1)
    server.faults.append(Fault(delay=5.0))

    with pytest.raises(GoogleError) as raised:
        await cluster.pools()

    assert raised.value.status == "DEADLINE_EXCEEDED"


async def test_a_cloud_that_has_gone_and_come_back(server: GkeServer, cluster: GkeCluster) -> None:
    await cluster.pools()
    await server.stop()
    with pytest.raises(GoogleError) as raised:
        await cluster.pools()
    assert raised.value.kind is Kind.TRANSIENT
    await server.start()

    for _ in range(50):
        try:
            assert await cluster.pools() == {}
            return
        except GoogleError:
            await sdk.asyncio.sleep(0.1)
    pytest.fail("never connected again")


async def test_the_token_is_read_anew_for_every_call(server: GkeServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    server.tokens = {"first"}
    cluster = GkeCluster(settings(server), sdk.token_file(str(file)))
    await cluster.pools()

    server.tokens = {"second"}
    with pytest.raises(GoogleError) as raised:
        await cluster.pools()
    assert raised.value.kind is Kind.TRANSIENT
    assert "first" not in str(raised.value)
    file.write_text("second")
    assert await cluster.pools() == {}
    file.unlink()
    with pytest.raises(GoogleError, match="cannot be read"):
        await cluster.pools()
    await cluster.close()


class Credentials:
    """google.auth's, as far as they are used."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.token = ""
        self.valid = False
        self.refreshed = 0
        self._failure = failure

    def refresh(self, request: object) -> None:
        self.refreshed += 1
        if self._failure is not None:
            raise self._failure
        self.token, self.valid = f"token-{self.refreshed}", True


async def test_default_credentials_are_refreshed_when_they_have_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Credentials()
    monkeypatch.setattr(google.auth, "default", lambda **_: (found, "my-project"))
    bearer = DefaultCredentials()

    assert [await bearer(), await bearer()] == ["token-1", "token-1"]
    found.valid = False
    assert await bearer() == "token-2"


@pytest.mark.parametrize("kind", [RefreshError, DefaultCredentialsError])
async def test_what_a_token_service_answers_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    broken = Credentials(kind("assertion eyJhbGciOi is invalid"))
    monkeypatch.setattr(google.auth, "default", lambda **_: (broken, "my-project"))

    with pytest.raises(GoogleError) as raised:
        await DefaultCredentials()()

    assert raised.value.kind is Kind.TRANSIENT
    assert "workload identity" in str(raised.value)
    assert "eyJhbGciOi" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"GCP_TOKEN_FILE": "/token"}, "bearer"),
        ({"GCP_ENDPOINT": "http://127.0.0.1:1"}, "anonymous"),
        ({}, "DefaultCredentials"),
    ],
)
def test_where_tokens_come_from(given: dict[str, str], kind: str) -> None:
    found = sdk.bearer(
        from_settings(
            {
                "GCP_PROJECT": "my-project",
                "GCP_LOCATION": "us-central1",
                "GCP_CLUSTER_NAME": "llm",
                **given,
            }
        )
    )

    assert kind in {getattr(found, "__name__", ""), type(found).__name__}
