"""When a pod last came to a node, or left it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from gpu_provisioner.nodeclaim.podevents import PodEvents
from kube.objects import PODS, Pod
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World


class Caches:
    """What PodEvents knows of them, over stores that are never behind."""

    class Informer:
        def __init__(self, store: Any) -> None:
            self.store = store

    def __init__(self, world: World) -> None:
        self.stores = world.stores
        self.claims = self.Informer(world.stores.claims)
        self.pods = self.Informer(world.stores.pods)
        self.nodes = self.Informer(world.stores.nodes)


class Watched:
    """The pods of a ready node, each change told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events = PodEvents(world.shared, Caches(world))  # type: ignore[arg-type]

    async def change(self, old: Pod | None, new: Pod | None) -> None:
        self.events.changed(old, new)
        queue = self.events._controller.queue
        while len(queue):
            key = await queue.get()
            assert key is not None
            await self.events._controller._reconcile(key)
            queue.done(key)

    def last(self) -> datetime | None:
        return self.world.claim().status.last_pod_event_time


@pytest.fixture
async def watched(world: World) -> Watched:
    await world.add_ready()
    return Watched(world)


def pod(phase: str = "Running", **given: Any) -> Pod:
    manifest = objects.pod_manifest("p", phase=phase, **given)
    return PODS.decode(msgspec.json.encode(manifest))


GOING: dict[str, Any] = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
DAEMON: dict[str, Any] = {"owner": "DaemonSet"}


@pytest.mark.parametrize(
    ("old", "new", "matters"),
    [
        pytest.param(None, pod(), True, id="comes"),
        pytest.param(pod(), None, True, id="is gone"),
        pytest.param(pod(), pod("Succeeded"), True, id="ends"),
        pytest.param(pod(), pod(**GOING), True, id="begins to go"),
        pytest.param(pod("Pending"), pod(), False, id="starts"),
        pytest.param(pod(**GOING), pod(**GOING), False, id="still goes"),
        pytest.param(None, pod(**DAEMON), False, id="a daemon comes"),
        pytest.param(None, pod(node="other"), False, id="elsewhere"),
    ],
)
async def test_case_63_what_moves_the_time(
    world: World, watched: Watched, old: Pod | None, new: Pod | None, matters: bool
) -> None:
    world.clock.advance(5)

    await watched.change(old, new)

    assert watched.last() == (world.now() if matters else None)


async def test_case_63_not_twice_in_ten_seconds(world: World, watched: Watched) -> None:
    first = world.now()
    await watched.change(None, pod())
    world.clock.advance(9)
    written = world.kube.writes
    await watched.change(pod(), None)
    assert watched.last() == first
    assert world.kube.writes == written

    world.clock.advance(1)
    await watched.change(None, pod())

    assert watched.last() == world.now()


async def test_a_claim_that_is_ending_is_not_written(world: World, watched: Watched) -> None:
    await world.kube.delete(NODE_CLAIMS, "ws1")
    written = world.kube.writes

    await watched.change(pod(), None)

    assert world.kube.writes == written
    assert watched.events._happened == {}
