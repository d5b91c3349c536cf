import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from kube.client import Client
from kube.informer import Informer
from kube.meta import Key, Manifest
from kube.objects import PODS, Pod
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import ImpatientClock

Told = list[tuple[str | None, str | None]]


def a_pod(name: str, node: str = "") -> Manifest:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"nodeName": node}}


@asynccontextmanager
async def running(informer: Informer[Pod]) -> AsyncIterator[None]:
    """The informer at work, its cache full."""
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(1):
            await informer.synced.wait()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(1):
        while not holds():
            await asyncio.sleep(0.001)


@pytest.fixture
def informer(client: Client, impatient: ImpatientClock) -> Informer[Pod]:
    return Informer(
        client,
        PODS,
        indexes={"node": lambda pod: [pod.spec.node_name]},
        clock=impatient,
        page=2,
    )


@pytest.fixture
def told(informer: Informer[Pod]) -> Told:
    heard: Told = []
    informer.subscribe(
        lambda old, new: heard.append(
            (old.metadata.name if old else None, new.metadata.name if new else None)
        )
    )
    return heard


def names(informer: Informer[Pod]) -> set[str]:
    return {pod.metadata.name for pod in informer.store.list()}


async def watching(server: FakeApiServer) -> None:
    await eventually(lambda: len(server.watchers) == 1)


async def test_it_lists_and_then_follows(
    server: FakeApiServer, informer: Informer[Pod], told: Told
) -> None:
    for name in ("a", "b", "c"):
        server.put(PODS, a_pod(name))
    async with running(informer):
        assert names(informer) == {"a", "b", "c"}
        server.put(PODS, a_pod("d", "n1"))
        server.put(PODS, a_pod("a", "n1"))
        server.remove(PODS, "b", "default")
        await eventually(lambda: names(informer) == {"a", "c", "d"})
        assert {p.metadata.name for p in informer.store.by_index("node", "n1")} == {"a", "d"}
    assert told == [
        *[(None, "a"), (None, "b"), (None, "c")],
        *[(None, "d"), ("a", "a"), ("b", None)],
    ]


async def test_a_broken_stream_goes_on_where_it_was(
    server: FakeApiServer, informer: Informer[Pod], told: Told
) -> None:
    server.put(PODS, a_pod("a"))
    async with running(informer):
        await watching(server)
        server.end_streams(broken=True)
        server.put(PODS, a_pod("b"))
        server.remove(PODS, "a", "default")
        await eventually(lambda: names(informer) == {"b"})
    lists = [request for request in server.requests if "watch" not in request.query]
    assert len(lists) == 1
    assert told == [(None, "a"), (None, "b"), ("a", None)]


@pytest.mark.parametrize("in_stream", [True, False])
async def test_deletes_that_no_watch_will_tell_are_derived(
    server: FakeApiServer, informer: Informer[Pod], told: Told, in_stream: bool
) -> None:
    for name in ("a", "b", "c"):
        server.put(PODS, a_pod(name))
    async with running(informer):
        await watching(server)
        watchers, server.watchers = server.watchers, []  # deaf from here on
        server.remove(PODS, "a", "default")
        server.put(PODS, a_pod("b", "n1"))
        server.compact()
        server.watchers = watchers
        if in_stream:
            server.error_in_streams(410, "Expired")
        else:
            server.end_streams(broken=True)
        await eventually(lambda: names(informer) == {"b", "c"})
        assert [p.metadata.name for p in informer.store.by_index("node", "n1")] == ["b"]
    assert sorted(told[3:], key=str) == [("a", None), ("b", "b")]  # and nothing about c


async def test_an_error_in_the_stream_is_survived(
    server: FakeApiServer, informer: Informer[Pod]
) -> None:
    async with running(informer):
        for number in range(5):
            await watching(server)
            server.error_in_streams(500, "InternalError")
            server.put(PODS, a_pod(f"p{number}"))
            await eventually(lambda number=number: f"p{number}" in names(informer))


async def test_a_stream_that_always_fails_ends_in_a_new_list(
    server: FakeApiServer, informer: Informer[Pod]
) -> None:
    server.put(PODS, a_pod("a"))
    server.refuse(6, 500, "InternalError", watch=True)
    async with running(informer):
        await watching(server)
        server.put(PODS, a_pod("b"))
        await eventually(lambda: names(informer) == {"a", "b"})
    assert len([r for r in server.requests if "watch" not in r.query]) > 1


@pytest.mark.parametrize("code", [401, 403, 404, 410, 500, 503])
async def test_no_answer_ends_it(
    server: FakeApiServer, informer: Informer[Pod], impatient: ImpatientClock, code: int
) -> None:
    server.put(PODS, a_pod("a"))
    server.refuse(40, code)
    async with running(informer):
        assert names(informer) == {"a"}
    assert max(impatient.slept) <= 30


async def test_failures_come_ever_more_slowly(
    server: FakeApiServer, informer: Informer[Pod], impatient: ImpatientClock
) -> None:
    server.refuse(10, 403)
    async with running(informer):
        pass
    early, late = impatient.slept[0], impatient.slept[9]
    assert early <= 0.5
    assert 15 <= late <= 30


async def test_lost_connections_are_survived(
    server: FakeApiServer, informer: Informer[Pod]
) -> None:
    server.put(PODS, a_pod("a"))
    server.disconnect(5)
    async with running(informer):
        assert names(informer) == {"a"}


async def test_garbage_in_the_stream_is_survived(
    server: FakeApiServer, informer: Informer[Pod]
) -> None:
    async with running(informer):
        await watching(server)
        server.send_in_streams(b"<html>proxy error</html>\n")
        server.put(PODS, a_pod("a"))
        await eventually(lambda: names(informer) == {"a"})


async def test_an_object_that_does_not_decode_is_skipped_and_noted(
    server: FakeApiServer,
    informer: Informer[Pod],
    told: Told,
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = {**a_pod("odd"), "spec": {"nodeName": 7}}
    server.put(PODS, a_pod("a"))
    server.put(PODS, odd)
    with caplog.at_level(logging.ERROR):
        async with running(informer):
            assert names(informer) == {"a"}
            assert informer.unreadable.keys() == {Key("default", "odd")}
            await watching(server)
            server.put(PODS, {**a_pod("a"), "spec": 3})
            server.put(PODS, a_pod("b"))
            await eventually(lambda: "b" in names(informer))
            # The last state that we could read is a better guess than "deleted".
            assert names(informer) == {"a", "b"}
            assert informer.unreadable.keys() == {Key("default", "odd"), Key("default", "a")}
            server.put(PODS, a_pod("odd"))
            server.remove(PODS, "a", "default")
            await eventually(lambda: names(informer) == {"b", "odd"})
            assert informer.unreadable == {}
    assert ("a", None) in told
    assert "default/odd" in caplog.text


async def test_an_unreadable_object_survives_a_new_list(
    server: FakeApiServer, informer: Informer[Pod], told: Told
) -> None:
    server.put(PODS, a_pod("a"))
    async with running(informer):
        await watching(server)
        server.put(PODS, {**a_pod("a"), "spec": 3})
        await eventually(lambda: bool(informer.unreadable))
        server.compact()
        server.error_in_streams(410, "Expired")
        await eventually(lambda: len(server.requests) >= 4)
        await watching(server)
        assert names(informer) == {"a"}
    assert told == [(None, "a")]


async def test_a_bookmark_moves_the_version(
    server: FakeApiServer, informer: Informer[Pod], told: Told
) -> None:
    server.put(PODS, a_pod("a"))
    async with running(informer):
        await watching(server)
        server.objects.version = 500
        server.bookmark()
        server.end_streams()
        await eventually(lambda: server.requests[-1].query.get("resourceVersion") == "500")
    assert told == [(None, "a")]


async def test_selectors_and_namespace_reach_the_server(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    for namespace in ("x", "y"):
        pod = a_pod("a", "n1")
        pod["metadata"] |= {"namespace": namespace, "labels": {"app": "phi"}}
        server.put(PODS, pod)
    narrow: Informer[Pod] = Informer(
        client, PODS, namespace="x", labels="app=phi", fields="spec.nodeName=n1", clock=impatient
    )
    async with running(narrow):
        assert [pod.metadata.namespace for pod in narrow.store.list()] == ["x"]
        await watching(server)
        moved = server.get(PODS, "a", "x")
        assert moved is not None
        moved["metadata"]["labels"] = {}
        server.put(PODS, moved)
        await eventually(lambda: narrow.store.list() == [])


async def test_last_contact_is_the_servers_last_word(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    impatient.advance(50)
    informer: Informer[Pod] = Informer(client, PODS, clock=impatient)
    impatient.advance(1000)
    assert informer.last_contact == 50
    async with running(informer):
        assert informer.last_contact >= 1050


async def test_an_optional_kind_that_is_not_served_is_empty_and_in_sync(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    server.put(PODS, a_pod("a"))
    server.refuse(3, 404, "NotFound")
    informer: Informer[Pod] = Informer(client, PODS, clock=impatient, optional=True)
    seen = []
    informer.subscribe(lambda old, new: seen.append((informer.served, new is not None)))
    async with running(informer):
        assert informer.store.list() == []
        assert not informer.served
        await eventually(lambda: names(informer) == {"a"})
        assert informer.served
    assert seen == [(True, True)]
    assert impatient.slept.count(30.0) == 3, "it is looked for at leisure"


async def test_an_optional_kind_that_goes_takes_its_objects_along(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    server.put(PODS, a_pod("a"))
    informer: Informer[Pod] = Informer(client, PODS, clock=impatient, optional=True)
    heard: Told = []
    async with running(informer):
        await watching(server)
        informer.subscribe(
            lambda old, new: heard.append(
                (old.metadata.name if old else None, new.metadata.name if new else None)
            )
        )
        server.refuse(10**9, 404, "NotFound")
        server.end_streams()
        await eventually(lambda: not informer.served)
        assert heard == [("a", None)]
        assert names(informer) == set()
        assert informer.synced.is_set()
        server.faults.clear()
        await eventually(lambda: informer.served)
    assert heard == [("a", None), (None, "a")]


async def test_a_kind_that_must_be_there_is_waited_for(
    server: FakeApiServer, client: Client, impatient: ImpatientClock
) -> None:
    server.refuse(50, 404, "NotFound")
    informer: Informer[Pod] = Informer(client, PODS, clock=impatient)
    task = asyncio.create_task(informer.run())
    await eventually(lambda: len(server.requests) >= 3)
    assert not informer.synced.is_set()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
