"""The Node of a machine that a pool has made."""

from __future__ import annotations

from typing import cast

from cloudproviders.joined import joined
from kube.client import Client
from kube.objects import NODES
from tests.fakes import objects
from tests.fakes.clock import FakeClock
from tests.fakes.memorykube import MemoryKube

SELECTOR = "kaito.sh/nodeclaim-uid=u1"
OURS = {"kaito.sh/nodeclaim-uid": "u1"}


async def found(kube: MemoryKube) -> str:
    node = await joined(cast("Client", kube), SELECTOR)
    return node.metadata.name if node else ""


async def test_it_is_the_labelled_one_that_tells_its_machine() -> None:
    kube = MemoryKube(FakeClock())
    kube.add(objects.node_manifest("other:///1", "other"))
    kube.add(objects.node_manifest("", "mute", labels=OURS))
    assert await found(kube) == ""

    kube.add(objects.node_manifest("moc://1", "mine", labels=OURS))
    assert await found(kube) == "mine"


async def test_of_several_it_is_the_youngest_that_stays() -> None:
    clock = FakeClock()
    kube = MemoryKube(clock)
    for name in ("first", "second", "going"):
        kube.add(
            objects.node_manifest(f"moc://{name}", name, labels=OURS, finalizers=["example.com/x"])
        )
        clock.advance(60)
    await kube.delete(NODES, "going")

    assert await found(kube) == "second"
