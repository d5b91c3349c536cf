"""Logs of pods that start or tune, read in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from apis import reports
from apis.kaito.v1beta1 import labels
from apis.reports import Reports, Stage, Training
from kube.errors import ForbiddenError
from kube.meta import Key
from kube.objects import Pod
from kube.store import Store
from tests.fakes.clock import FakeClock
from workspace_controller.podlogs import EVERY_SECONDS, PodLogs
from workspace_controller.workspace import podreports

RUNNING = {"state": {"running": {}}}
READY = {"conditions": [{"type": "Ready", "status": "True"}]}
OF = Key("default", "falcon")


def a_pod(uid: str = "uid-1", *, owner: str = "StatefulSet", **status: Any) -> Pod:
    own = {"apiVersion": "apps/v1", "kind": owner, "name": "falcon", "uid": "x"}
    return msgspec.convert(
        {
            "metadata": {
                "name": "falcon-0",
                "namespace": "default",
                "uid": uid,
                "labels": {
                    labels.WORKSPACE_LABEL: "falcon",
                    labels.WORKSPACE_NAMESPACE_LABEL: "default",
                },
                "ownerReferences": [own],
            },
            "status": status,
        },
        Pod,
    )


def fetching(uid: str = "uid-1", **given: Any) -> Pod:
    return a_pod(uid, initContainerStatuses=[{"name": "weights", **RUNNING}], **given)


def loading() -> Pod:
    done = {"name": "weights", "ready": True, "state": {"terminated": {"exitCode": 0}}}
    return a_pod(initContainerStatuses=[done], containerStatuses=[{"name": "falcon", **RUNNING}])


def serving() -> Pod:
    return a_pod(containerStatuses=[{"name": "falcon", "ready": True, **RUNNING}], **READY)


def tuning() -> Pod:
    return a_pod(owner="Job", containerStatuses=[{"name": "falcon", **RUNNING}], **READY)


class Kubelet:
    """What a container's log ends with, or why it cannot be had."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.at_once = 0
        self.most = 0
        self.slow: asyncio.Event | None = None

    async def logs(self, pod: str, namespace: str, *, container: str, **bounds: int) -> str:
        assert (pod, namespace) == ("falcon-0", "default")
        assert all(bounds[each] > 0 for each in ("tail_lines", "limit_bytes"))
        self.asked.append(container)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            if self.slow is not None:
                await self.slow.wait()
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error
        return "\n".join(self.lines)

    def says(self, *said: Stage | Training) -> None:
        self.lines = ["INFO something else", *map(reports.line, said)]


class Cluster:
    """One pod, its kubelet, the reader of its log, and whom that wakes."""

    def __init__(self) -> None:
        self.kubelet = Kubelet()
        self.clock = FakeClock()
        self.pods: Store[Pod] = Store()
        self.logs = PodLogs(self.kubelet, self.pods, self.clock)  # type: ignore[arg-type]
        self.woken: list[Key] = []
        self.logs.wake = self.woken.append

    async def put(self, pod: Pod) -> None:
        old = self.pods.get("falcon-0", "default")
        self.pods.put(pod)
        self.logs.changed(old, pod)
        await self.settle()

    async def remove(self) -> None:
        old = self.pods.get("falcon-0", "default")
        self.pods.remove(Key("default", "falcon-0"))
        self.logs.changed(old, None)
        await self.settle()

    async def pass_(self, seconds: float = EVERY_SECONDS) -> None:
        self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def told(self, pod: Pod | None = None) -> Reports:
        return self.logs.of([pod or fetching()]).get((pod or fetching()).metadata.uid, Reports())


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    found = Cluster()
    running = asyncio.create_task(found.logs.run())
    await found.settle()
    yield found
    found.logs.stop()
    await asyncio.wait_for(running, 5)


def downloaded(gib: float) -> Stage:
    return Stage(stage=reports.DOWNLOAD, done=gib, total=100.0, unit="GiB", eta_seconds=120)


@pytest.mark.parametrize(
    ("pod", "container"),
    [
        pytest.param(a_pod(), "", id="nothing runs yet"),
        pytest.param(fetching(), "weights", id="an init container"),
        pytest.param(loading(), "falcon", id="the engine, which is not ready"),
        pytest.param(serving(), "", id="serves"),
        pytest.param(tuning(), "falcon", id="tunes"),
    ],
)
def test_who_has_something_to_say(pod: Pod, container: str) -> None:
    assert podreports.speaking(pod) == container


async def test_a_pod_that_starts_is_read_and_wakes_its_workspace(cluster: Cluster) -> None:
    cluster.kubelet.says(downloaded(3))
    await cluster.put(fetching())
    assert cluster.told().stage == downloaded(3)
    assert cluster.woken == [OF]


async def test_a_cluster_where_all_serve_costs_nothing(cluster: Cluster) -> None:
    await cluster.put(serving())
    await cluster.pass_(3600)
    assert cluster.kubelet.asked == []


async def test_it_is_not_read_often_nor_told_of_in_small_steps(cluster: Cluster) -> None:
    cluster.kubelet.says(downloaded(10))
    await cluster.put(fetching())
    cluster.kubelet.says(downloaded(12))
    await cluster.put(fetching())
    assert len(cluster.kubelet.asked) == 1
    await cluster.pass_()
    assert len(cluster.kubelet.asked) == 2
    assert cluster.told().stage == downloaded(10)
    cluster.kubelet.says(downloaded(15))
    await cluster.pass_()
    assert cluster.told().stage == downloaded(15)
    cluster.kubelet.says(downloaded(15.5))
    for _ in range(3):
        await cluster.pass_()
    assert cluster.told().stage == downloaded(15.5)
    assert cluster.woken == [OF] * 3


async def test_another_stage_is_told_at_once(cluster: Cluster) -> None:
    cluster.kubelet.says(downloaded(100))
    await cluster.put(fetching())
    cluster.kubelet.says(Stage(stage=reports.LOAD))
    await cluster.put(loading())
    await cluster.pass_()
    assert cluster.kubelet.asked == ["weights", "falcon"]
    assert cluster.told().stage == Stage(stage=reports.LOAD)


async def test_what_one_container_said_is_not_said_of_the_next(cluster: Cluster) -> None:
    cluster.kubelet.says(downloaded(100))
    await cluster.put(fetching())
    assert cluster.told().stage == downloaded(100)
    cluster.kubelet.says()
    await cluster.put(loading())
    assert cluster.told() == Reports()
    await cluster.pass_()
    assert cluster.told() == Reports()


async def test_what_has_left_the_tail_is_still_known(cluster: Cluster) -> None:
    cluster.kubelet.says(Stage(stage=reports.LOAD))
    await cluster.put(loading())
    cluster.kubelet.lines = ["a hundred other lines"]
    await cluster.pass_(60)
    assert cluster.told().stage == Stage(stage=reports.LOAD)
    assert cluster.woken == [OF]


async def test_once_it_serves_it_is_left_alone(cluster: Cluster) -> None:
    await cluster.put(loading())
    await cluster.put(serving())
    await cluster.pass_()
    await cluster.pass_(3600)
    assert len(cluster.kubelet.asked) == 1
    assert cluster.logs.of([serving()]) == {}


async def test_a_tuning_is_read_to_its_end_and_kept_until_the_pod_is_gone(cluster: Cluster) -> None:
    cluster.kubelet.says(Training(step=5, steps=100, loss=2.0))
    await cluster.put(tuning())
    cluster.kubelet.says(Training(step=50, steps=100, loss=1.0))
    await cluster.pass_()
    assert cluster.told().training == Training(step=50, steps=100, loss=1.0)
    await cluster.put(a_pod(owner="Job", containerStatuses=[{"name": "falcon"}]))
    await cluster.pass_()
    assert cluster.told().training is not None
    await cluster.remove()
    assert cluster.told() == Reports()


async def test_a_pod_of_the_same_name_is_another_one(cluster: Cluster) -> None:
    cluster.kubelet.says(downloaded(50))
    await cluster.put(fetching("uid-1"))
    await cluster.remove()
    cluster.kubelet.says(downloaded(1))
    await cluster.put(fetching("uid-2"))
    assert cluster.told() == Reports()
    assert cluster.told(fetching("uid-2")).stage == downloaded(1)


async def test_a_log_that_cannot_be_had_is_asked_for_ever_less(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "workspace_controller.podlogs")
    cluster.kubelet.error = ForbiddenError(403, "Forbidden", "pods/log")
    await cluster.put(fetching())
    for _ in range(60):
        await cluster.pass_()
    assert 3 <= len(cluster.kubelet.asked) <= 10
    assert len(caplog.records) == 1
    assert cluster.woken == []
    cluster.kubelet.error = None
    cluster.kubelet.says(downloaded(3))
    for _ in range(30):
        await cluster.pass_()
    assert cluster.told().stage == downloaded(3)


async def test_who_does_not_lead_reads_nothing() -> None:
    cluster = Cluster()
    await cluster.put(fetching())
    assert cluster.kubelet.asked == []
    running = asyncio.create_task(cluster.logs.run())
    await cluster.settle()
    assert cluster.kubelet.asked == ["weights"]
    cluster.logs.stop()
    await asyncio.wait_for(running, 5)


async def test_the_end_waits_for_no_kubelet(cluster: Cluster) -> None:
    cluster.kubelet.slow = asyncio.Event()
    await cluster.put(fetching())
    assert cluster.kubelet.at_once == 1
    cluster.logs.stop()
    await cluster.settle()
    assert cluster.kubelet.at_once == 0


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (None, ""),
        (
            Stage(stage="download", done=3.2, total=15.0, unit="GiB", eta_seconds=120),
            "is downloading 3.2 of 15.0 GiB, 2m left",
        ),
        (Stage(stage="download"), "is downloading"),
        (Stage(stage="compile", message="whatever"), "is compiling the model"),
        (Stage(stage="prepare", message="prepares the data"), "prepares the data"),
    ],
)
def test_words_for_users(stage: Stage | None, words: str) -> None:
    assert podreports.words(stage) == words
