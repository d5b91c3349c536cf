import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from kube import wire
from kube.client import Client
from kube.clock import ServerClock
from kube.config import Endpoint
from kube.credentials import TokenFile
from kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    KubeError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
)
from kube.meta import Key, Manifest
from kube.metrics import REGISTRY
from kube.objects import CONFIG_MAPS, NODES, PODS, STATEFUL_SETS, ConfigMap
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock, ImpatientClock


def a_config_map(name: str = "a", **data: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def a_pod(name: str, labels: dict[str, str] | None = None) -> Manifest:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels or {}}}


# --- verbs -----------------------------------------------------------------------------------


async def test_get_gives_the_object_or_none(server: FakeApiServer, client: Client) -> None:
    server.put(CONFIG_MAPS, a_config_map(k="v"))
    found = await client.get(CONFIG_MAPS, "a", "default")
    assert isinstance(found, ConfigMap)
    assert found.data == {"k": "v"}
    assert await client.get(CONFIG_MAPS, "a", "elsewhere") is None


async def test_logs_are_the_end_of_what_a_container_wrote(
    server: FakeApiServer, client: Client
) -> None:
    server.logs["a", "main"] = "one\ntwo\nthr\u00e9e\n"
    found = await client.logs("a", "default", container="main", tail_lines=2, limit_bytes=100)
    assert found == "two\nthr\u00e9e\n"
    (asked,) = server.requests
    assert asked.path == "/api/v1/namespaces/default/pods/a/log"


async def test_logs_that_cannot_be_had_are_asked_for_once(
    server: FakeApiServer, client: Client
) -> None:
    """Not even where a kubelet is gone, which the API server tells with a 500."""
    with pytest.raises(KubeError):
        await client.logs("a", "default", container="init", tail_lines=1, limit_bytes=1)
    server.refuse(5, 500)
    with pytest.raises(ServerError):
        await client.logs("a", "default", container="init", tail_lines=1, limit_bytes=1)
    assert len(server.requests) == 2


async def test_create_stores_and_refuses_a_second(server: FakeApiServer, client: Client) -> None:
    created = await client.create(a_config_map(k="v"))
    assert created["metadata"]["uid"]
    with pytest.raises(AlreadyExistsError):
        await client.create(a_config_map())
    stored = server.get(CONFIG_MAPS, "a", "default")
    assert stored is not None
    assert stored["data"] == {"k": "v"}


async def test_a_kind_that_nobody_named_is_a_mistake(client: Client) -> None:
    with pytest.raises(LookupError, match=r"example\.com/v1 Thing"):
        await client.create({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {}})


async def test_apply_creates_and_then_merges(server: FakeApiServer, client: Client) -> None:
    await client.apply(a_config_map(a="1"))
    await client.apply(a_config_map(b="2"))
    stored = server.get(CONFIG_MAPS, "a", "default")
    assert stored is not None
    assert stored["data"] == {"a": "1", "b": "2"}
    assert server.requests[-1].query == {"fieldManager": "test", "force": "true"}


async def test_patch_merges_and_respects_the_lock(server: FakeApiServer, client: Client) -> None:
    stored = server.put(CONFIG_MAPS, a_config_map(a="1", b="2"))
    patch: Manifest = {"data": {"a": None, "c": "3"}}
    changed = await client.patch(CONFIG_MAPS, "a", patch, namespace="default")
    assert changed.data == {"b": "2", "c": "3"}
    locked = {"metadata": {"resourceVersion": stored["metadata"]["resourceVersion"]}, "data": {}}
    with pytest.raises(ConflictError):
        await client.patch(CONFIG_MAPS, "a", locked, namespace="default")
    with pytest.raises(NotFoundError):
        await client.patch(CONFIG_MAPS, "b", patch, namespace="default")


async def test_a_status_patch_changes_status_only(server: FakeApiServer, client: Client) -> None:
    server.put(STATEFUL_SETS, {**a_pod("s"), "spec": {"replicas": 1}})
    patch = {"spec": {"replicas": 9}, "status": {"replicas": 1}}
    await client.patch(STATEFUL_SETS, "s", patch, namespace="default", subresource="status")
    stored = server.get(STATEFUL_SETS, "s", "default")
    assert stored is not None
    assert (stored["spec"], stored["status"]) == ({"replicas": 1}, {"replicas": 1})


async def test_delete_is_content_with_absence(server: FakeApiServer, client: Client) -> None:
    server.put(CONFIG_MAPS, a_config_map())
    await client.delete(CONFIG_MAPS, "a", namespace="default")
    await client.delete(CONFIG_MAPS, "a", namespace="default")
    assert server.list(CONFIG_MAPS) == []


async def test_delete_by_uid_spares_a_namesake(server: FakeApiServer, client: Client) -> None:
    server.put(CONFIG_MAPS, a_config_map())
    await client.delete(CONFIG_MAPS, "a", namespace="default", uid="of-its-predecessor")
    assert len(server.list(CONFIG_MAPS)) == 1


async def test_a_conflict_about_the_very_object_is_told(
    server: FakeApiServer, client: Client
) -> None:
    stored = server.put(CONFIG_MAPS, a_config_map())
    server.refuse(1, 409, "Conflict", method="DELETE")
    with pytest.raises(ConflictError):
        await client.delete(CONFIG_MAPS, "a", namespace="default", uid=stored["metadata"]["uid"])


async def test_delete_waits_for_finalizers(server: FakeApiServer, client: Client) -> None:
    manifest = a_config_map()
    manifest["metadata"]["finalizers"] = ["ours"]
    server.put(CONFIG_MAPS, manifest)
    await client.delete(CONFIG_MAPS, "a", namespace="default", propagation="Foreground")
    ending = await client.get(CONFIG_MAPS, "a", "default")
    assert ending is not None
    assert ending.metadata.deletion_timestamp is not None
    await client.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, namespace="default")
    assert server.list(CONFIG_MAPS) == []


async def test_an_eviction_that_a_budget_forbids_is_told_at_once(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    server.put(PODS, a_pod("p"))
    server.blocked_evictions.add(Key("default", "p"))
    with pytest.raises(TooManyRequestsError):
        await client.post(PODS, "p", "eviction", {}, namespace="default")
    assert impatient.slept == []
    server.blocked_evictions.clear()
    await client.post(PODS, "p", "eviction", {}, namespace="default")
    assert server.list(PODS) == []


# --- lists -----------------------------------------------------------------------------------


async def test_list_reads_all_pages_of_one_state(server: FakeApiServer, client: Client) -> None:
    for number in range(7):
        server.put(PODS, a_pod(f"p{number}", {"even": str(number % 2 == 0)}))
    listing = await client.list(PODS, limit=3)
    assert [pod.metadata.name for pod in listing.items] == [f"p{n}" for n in range(7)]
    assert listing.resource_version == "107"
    assert len(server.requests) == 3
    even = await client.list(PODS, labels="even=True", fields="metadata.name!=p0")
    assert [pod.metadata.name for pod in even.items] == ["p2", "p4", "p6"]
    assert (await client.list(PODS, namespace="other")).items == []


async def test_an_expired_page_starts_the_list_again(server: FakeApiServer, client: Client) -> None:
    for number in range(5):
        server.put(NODES, {"metadata": {"name": f"n{number}"}})
    server.refuse(1, 410, "Expired")
    server.faults[0].matches = lambda request: "continue" in request.query
    listing = await client.list(NODES, limit=2)
    assert [node.metadata.name for node in listing.items] == [f"n{n}" for n in range(5)]


async def test_pages_that_always_expire_end_in_one_big_answer(
    server: FakeApiServer, client: Client
) -> None:
    for number in range(5):
        server.put(NODES, {"metadata": {"name": f"n{number}"}})
    server.refuse(99, 410, "Expired")
    server.faults[0].matches = lambda request: "continue" in request.query
    assert len((await client.list(NODES, limit=2)).items) == 5
    assert "limit" not in server.requests[-1].query


async def test_a_list_has_no_holes(server: FakeApiServer, client: Client) -> None:
    server.put(PODS, a_pod("good"))
    server.put(PODS, {**a_pod("odd"), "spec": 3})
    with pytest.raises(ValueError, match="spec"):
        await client.list(PODS)


# --- retries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_a_server_in_trouble_is_asked_again(
    server: FakeApiServer, client: Client, impatient: ImpatientClock, code: int
) -> None:
    server.put(CONFIG_MAPS, a_config_map())
    server.refuse(2, code)
    assert await client.get(CONFIG_MAPS, "a", "default") is not None
    assert len(impatient.slept) == 2
    assert 0.125 <= impatient.slept[0] <= 0.25


async def test_retry_after_is_honoured(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    server.refuse(1, 429, "TooManyRequests", retry_after=7)
    assert await client.get(CONFIG_MAPS, "a", "default") is None
    assert 7 <= impatient.slept[0] <= 8


async def test_patience_ends(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    server.refuse(1000, 503, "ServiceUnavailable")
    with pytest.raises(ServerError):
        await client.get(CONFIG_MAPS, "a", "default")
    assert 25 <= sum(impatient.slept) <= 40


async def test_a_wait_longer_than_patience_is_not_begun(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    server.refuse(1, 503, retry_after=60)
    with pytest.raises(ServerError):
        await client.get(CONFIG_MAPS, "a", "default")
    assert impatient.slept == []


async def test_other_refusals_are_final(server: FakeApiServer, client: Client) -> None:
    server.refuse(1, 422, "Invalid")
    with pytest.raises(InvalidError):
        await client.get(CONFIG_MAPS, "a", "default")
    assert len(server.requests) == 1


async def test_a_lost_connection_is_made_again(server: FakeApiServer, client: Client) -> None:
    server.put(CONFIG_MAPS, a_config_map(a="1"))
    server.disconnect(2)
    changed = await client.patch(CONFIG_MAPS, "a", {"data": {"a": "2"}}, namespace="default")
    assert changed.data == {"a": "2"}


async def test_a_create_whose_answer_was_lost_says_that_the_name_is_taken(
    server: FakeApiServer, client: Client
) -> None:
    server.disconnect(1, after_effect=True)
    with pytest.raises(AlreadyExistsError):
        await client.create(a_config_map())
    assert len(server.list(CONFIG_MAPS)) == 1


async def test_a_create_with_a_generated_name_never_makes_two(
    server: FakeApiServer, client: Client
) -> None:
    manifest = a_config_map()
    manifest["metadata"] = {"generateName": "a-", "namespace": "default"}
    server.disconnect(1, after_effect=True)
    with pytest.raises(aiohttp.ClientError):
        await client.create(manifest)
    assert len(server.list(CONFIG_MAPS)) == 1


async def test_nobody_listening_is_a_network_error_in_the_end(impatient: ImpatientClock) -> None:
    async with Client(
        Endpoint("http://127.0.0.1:9"), field_manager="test", clock=impatient, patience=3
    ) as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(NODES, "a")
    assert impatient.slept


async def test_requests_are_counted_under_client_gos_name(
    server: FakeApiServer, client: Client
) -> None:
    def counted(code: str) -> float:
        host = f"127.0.0.1:{server.port}"
        labels = {"code": code, "method": "GET", "host": host}
        return REGISTRY.get_sample_value("rest_client_requests_total", labels) or 0

    server.refuse(1, 503)
    server.disconnect(3)
    await client.get(NODES, "a")
    assert (counted("503"), counted("404")) == (1, 1)
    assert counted("<error>") >= 1


async def test_a_refused_token_is_read_again(server: FakeApiServer, tmp_path: Any) -> None:
    server.token = "new"
    path = tmp_path / "token"
    path.write_text("old\n")
    clock = FakeClock()
    endpoint = Endpoint(server.endpoint.server, credentials=TokenFile(path, clock))
    async with Client(endpoint, field_manager="test", clock=clock) as client:
        path.write_text("new\n")
        assert await client.get(NODES, "a") is None
        server.token = "newer"
        path.write_text("newer\n")
        assert await client.get(NODES, "a") is None  # after a 401


async def test_an_answer_that_is_no_status_is_still_an_error(
    server: FakeApiServer, client: Client
) -> None:
    server.html = True
    server.refuse(1, 403)
    with pytest.raises(ForbiddenError) as refused:
        await client.get(NODES, "a")
    assert "<html>" in refused.value.message


# --- watches ---------------------------------------------------------------------------------


async def test_a_watch_tells_each_change(server: FakeApiServer, client: Client) -> None:
    seen: list[tuple[str, str, str]] = []
    async with asyncio.timeout(1):
        server.put(PODS, a_pod("a"))
        async with aclosing(client.watch(PODS, resource_version="100")) as events:
            async for type_, pod, version in events:
                seen.append((type_, pod.metadata.name if pod else "", version))
                if len(seen) == 1:
                    server.put(PODS, a_pod("a", {"x": "y"}))
                    server.remove(PODS, "a", "default")
                    server.bookmark()
                elif type_ == "BOOKMARK":
                    break
    assert seen == [
        ("ADDED", "a", "101"),
        ("MODIFIED", "a", "102"),
        ("DELETED", "a", "103"),
        ("BOOKMARK", "", "103"),
    ]


async def consume(client: Client, version: str = "100", **options: Any) -> None:
    async with aclosing(client.watch(PODS, resource_version=version, **options)) as events:
        async for _ in events:
            pass


async def test_an_old_version_is_gone(server: FakeApiServer, client: Client) -> None:
    server.put(PODS, a_pod("a"))
    server.compact()
    with pytest.raises(GoneError):
        await consume(client)


async def opened(server: FakeApiServer) -> None:
    while not server.watchers:
        await asyncio.sleep(0.001)


async def test_an_error_in_the_stream_is_raised(server: FakeApiServer, client: Client) -> None:
    consumer = asyncio.create_task(consume(client))
    await opened(server)
    server.error_in_streams(500, "InternalError")
    with pytest.raises(ServerError):
        await consumer


async def test_a_silent_stream_ends(server: FakeApiServer, client: Client) -> None:
    with pytest.raises(TimeoutError):
        await consume(client, silence=0.02)


async def test_a_line_may_be_long_and_come_in_pieces() -> None:
    async def chunks() -> Any:
        for chunk in (b"one\ntw", b"o", b"", b"\nthr", b"ee\nfour\n\nlost"):
            yield chunk

    assert [line async for line in wire.lines(chunks())] == [
        b"one",
        b"two",
        b"three",
        b"four",
    ]


async def test_every_answer_tells_the_time_of_the_server(server: FakeApiServer) -> None:
    own = FakeClock(datetime.now(UTC) + timedelta(minutes=10))
    clock = ServerClock(own)
    async with Client(server.endpoint, field_manager="test", clock=clock) as client:
        await client.get(PODS, "none", "default")

    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 3
