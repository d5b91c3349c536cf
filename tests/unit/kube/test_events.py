import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from kube import events
from kube.client import Client
from kube.correlation import About, Correlator
from kube.events import Recorder
from kube.meta import Manifest, ObjectMeta
from kube.metrics import REGISTRY
from kube.objects import EVENTS, NODES, PODS
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock

POD = ObjectMeta(name="p", namespace="x", uid="u", resource_version="7")
NODE = ObjectMeta(name="n", uid="v")


@asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[Recorder]:
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def recorder(client: Client, clock: FakeClock) -> AsyncIterator[Recorder]:
    async with running(Recorder(client, "provisioner", clock)) as recorder:
        yield recorder


async def written(server: FakeApiServer, recorder: Recorder) -> list[Manifest]:
    async with asyncio.timeout(1):
        await recorder.flush()
    return server.list(EVENTS)


def dropped(cause: str) -> float:
    return REGISTRY.get_sample_value("kube_events_dropped_total", {"cause": cause}) or 0


async def test_a_long_text_is_cut_before_it_is_searched_for_secrets(
    server: FakeApiServer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    def counted(text: str) -> str:
        searched.append(len(text))
        return text

    monkeypatch.setattr(events, "redacted", counted)
    recorder.event(PODS, POD, "Warning", "Failed", "x" * 1_000_000)
    (event,) = await written(server, recorder)
    assert event["message"] == "x" * 1023 + "…"
    assert max(searched) < 10_000


@pytest.mark.parametrize("last", [".", "-", ".-"])
def test_the_name_of_an_event_is_one_wherever_its_objects_is_cut(
    clock: FakeClock, last: str
) -> None:
    name = "n" * (236 - len(last)) + last + "rest-of-the-name"
    about = About("v1", "Pod", "x", name, "u", "Normal", "Said", "so")
    told = Correlator("provisioner", clock).note(about, "7").name
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", told)
    assert len(told) <= 253


async def test_an_event_says_who_did_what_to_whom(
    server: FakeApiServer, recorder: Recorder
) -> None:
    recorder.event(PODS, POD, "Warning", "FailedDraining", "a budget forbids it")
    (event,) = await written(server, recorder)
    assert event["metadata"]["namespace"] == "x"
    assert event["metadata"]["name"].startswith("p.")
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "x",
        "name": "p",
        "uid": "u",
        "resourceVersion": "7",
    }
    assert event["source"] == {"component": "provisioner"}
    assert (event["type"], event["reason"]) == ("Warning", "FailedDraining")
    assert (event["message"], event["count"]) == ("a budget forbids it", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-01T00:00:00Z"


async def test_events_of_cluster_objects_are_in_default(
    server: FakeApiServer, recorder: Recorder
) -> None:
    recorder.event(NODES, NODE, "Normal", "Launched", "yes")
    (event,) = await written(server, recorder)
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]


async def test_the_same_words_are_counted(
    server: FakeApiServer, recorder: Recorder, clock: FakeClock
) -> None:
    for _ in range(3):
        recorder.event(PODS, POD, "Normal", "R", "m")
        await written(server, recorder)
        clock.advance(100)
    (event,) = await written(server, recorder)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["lastTimestamp"] == "2026-01-01T00:03:20Z"


async def test_after_a_restart_the_same_event_is_counted_on(
    server: FakeApiServer, client: Client, recorder: Recorder, clock: FakeClock
) -> None:
    """And by whom it is told: another component's words are another event."""
    for _ in range(3):
        recorder.event(PODS, POD, "Normal", "R", "m")
        await written(server, recorder)
    clock.advance(600)
    async with running(Recorder(client, "provisioner", clock)) as restarted:
        for count in (4, 5):
            restarted.event(PODS, POD, "Normal", "R", "m")
            (event,) = await written(server, restarted)
            assert (event["count"], event["lastTimestamp"]) == (count, "2026-01-01T00:10:00Z")
        assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
    async with running(Recorder(client, "somebody-else", clock)) as other:
        other.event(PODS, POD, "Normal", "R", "m")
        assert [event["count"] for event in await written(server, other)] == [5, 1]


async def test_ten_wordings_of_one_reason_are_told_and_the_rest_combined(
    server: FakeApiServer, recorder: Recorder, clock: FakeClock
) -> None:
    for number in range(15):
        recorder.event(PODS, POD, "Warning", "R", f"after {number} s")
        await written(server, recorder)
    recorder.event(PODS, POD, "Warning", "R", "after 3 s")
    recorder.event(PODS, POD, "Warning", "other", "reasons are not concerned")
    *told, combined, other = await written(server, recorder)
    assert [event["message"] for event in told] == [f"after {number} s" for number in range(10)]
    assert told[3]["count"] == 2
    assert combined["message"] == "(combined from similar events): after 14 s"
    assert combined["count"] == 5
    assert other["reason"] == "other"
    clock.advance(601)
    recorder.event(PODS, POD, "Warning", "R", "news after ten silent minutes")
    assert (await written(server, recorder))[-1]["message"] == "news after ten silent minutes"


@pytest.mark.parametrize(
    "other",
    [
        (PODS, POD, "Warning", "R", "m"),
        (PODS, POD, "Normal", "Q", "m"),
        (PODS, POD, "Normal", "R", "other"),
        (PODS, ObjectMeta(name="p", namespace="x", uid="other"), "Normal", "R", "m"),
    ],
    ids=["type", "reason", "message", "uid"],
)
async def test_other_words_are_another_event(
    server: FakeApiServer, recorder: Recorder, other: tuple
) -> None:
    recorder.event(PODS, POD, "Normal", "R", "m")
    recorder.event(*other)
    assert len(await written(server, recorder)) == 2


async def test_a_burst_of_the_same_costs_one_request(
    server: FakeApiServer, recorder: Recorder
) -> None:
    for _ in range(20):
        recorder.event(PODS, POD, "Normal", "R", "m")
    (event,) = await written(server, recorder)
    assert event["count"] == 20
    assert len(server.requests) == 1


async def test_who_talks_too_much_is_cut_off(
    server: FakeApiServer, recorder: Recorder, clock: FakeClock
) -> None:
    before = dropped("rate")
    for number in range(30):
        recorder.event(PODS, POD, "Normal", f"R{number}", "m")
    recorder.event(NODES, NODE, "Normal", "R", "others may still speak")
    assert len(await written(server, recorder)) == 26
    assert dropped("rate") - before == 5
    clock.advance(300)
    recorder.event(PODS, POD, "Normal", "R", "one more")
    recorder.event(PODS, POD, "Normal", "R", "but not two")
    assert len(await written(server, recorder)) == 27


async def test_long_messages_are_cut(server: FakeApiServer, recorder: Recorder) -> None:
    recorder.event(PODS, POD, "Normal", "R", "m" * 2000)
    (event,) = await written(server, recorder)
    assert len(event["message"]) == 1024


async def test_an_event_that_the_server_forgot_is_told_anew(
    server: FakeApiServer, recorder: Recorder
) -> None:
    recorder.event(PODS, POD, "Normal", "R", "m")
    (event,) = await written(server, recorder)
    server.remove(EVENTS, event["metadata"]["name"], "x")
    recorder.event(PODS, POD, "Normal", "R", "m")
    assert [event["count"] for event in await written(server, recorder)] == [2]


async def test_a_refusal_is_nobodys_problem(server: FakeApiServer, recorder: Recorder) -> None:
    before = dropped("error")
    server.refuse(1, 403, "Forbidden")
    recorder.event(PODS, POD, "Normal", "R", "lost")
    assert await written(server, recorder) == []
    recorder.event(PODS, POD, "Normal", "R", "kept")
    assert [event["message"] for event in await written(server, recorder)] == ["kept"]
    assert dropped("error") - before == 1


async def test_a_lost_answer_makes_no_second_event(
    server: FakeApiServer, recorder: Recorder
) -> None:
    server.disconnect(1, after_effect=True)
    recorder.event(PODS, POD, "Normal", "R", "m")
    await written(server, recorder)
    recorder.event(PODS, POD, "Normal", "R", "m")
    assert [event["count"] for event in await written(server, recorder)] == [2]


async def test_a_full_queue_drops_and_counts(client: Client, clock: FakeClock) -> None:
    idle = Recorder(client, "provisioner", clock)  # nobody drains it
    before = dropped("queue")
    for number in range(1003):
        metadata = ObjectMeta(name=f"p{number}", namespace="x")
        idle.event(PODS, metadata, "Normal", "R", "m")
    assert dropped("queue") - before == 3
