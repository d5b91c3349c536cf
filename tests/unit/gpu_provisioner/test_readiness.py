"""A claim's node class is asked before the cloud is, where it is an object."""

from __future__ import annotations

from typing import Any

import pytest

from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind, Pending
from kube.meta import Resource
from tests.unit.gpu_provisioner.conftest import World

CLASSES = Resource("fake.sh", "v1", "FakeNodeClass", "fakenodeclasses", NodeClass, namespaced=False)
KIND = GroupKind("fake.sh", "FakeNodeClass")
REF = {"group": "fake.sh", "kind": "FakeNodeClass", "name": "gpu"}


@pytest.fixture
def classy(world: World) -> World:
    """Whose cloud keeps its classes as objects."""
    world.cloud.node_classes = (KIND,)
    world.cloud.node_class_resources = (CLASSES,)
    world.serve(KIND, CLASSES)
    world.add_claim(node_class_ref=REF)
    return world


def add_class(world: World, ready: dict[str, Any] | None, **metadata: Any) -> None:
    world.kube.add(
        {
            "apiVersion": "fake.sh/v1",
            "kind": "FakeNodeClass",
            "metadata": {"name": "gpu", "generation": 2, **metadata},
            "status": {"conditions": [{"type": "Ready", **ready}] if ready else []},
        }
    )


async def test_a_ready_class_is_launched_from_and_its_hash_remembered(classy: World) -> None:
    hashed = {"fake.sh/fakenodeclass-hash": "abc", "fake.sh/fakenodeclass-hash-version": "kaito-v1"}
    add_class(classy, {"status": "True", "observedGeneration": 2}, annotations={**hashed, "x": "y"})

    await classy.reconcile()

    assert classy.claim().is_true("Launched")
    assert classy.claim().metadata.annotations == hashed


@pytest.mark.parametrize(
    ("ready", "metadata", "message"),
    [
        pytest.param(
            {"status": "False", "reason": "SubnetsNotFound", "message": "no subnet carries x=y"},
            {},
            "node class gpu (FakeNodeClass.fake.sh) is not ready: SubnetsNotFound: no subnet"
            " carries x=y",
            id="not ready",
        ),
        pytest.param(
            {"status": "True"},
            {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]},
            "node class gpu (FakeNodeClass.fake.sh) is being deleted: refer to another",
            id="being deleted",
        ),
    ],
)
async def test_a_class_that_cannot_be_launched_from_gives_the_claim_up(
    classy: World, ready: dict[str, Any], metadata: dict[str, Any], message: str
) -> None:
    add_class(classy, ready, **metadata)

    await classy.reconcile()

    assert classy.claim().deleting
    assert classy.events.told == [("NodeClaim", "ws1", "NodeClassNotReady", message)]
    assert classy.cloud.calls == []


async def test_a_class_that_does_not_exist_gives_the_claim_up(classy: World) -> None:
    await classy.reconcile()

    assert classy.claim().deleting
    assert classy.events.told[0].message == (
        "node class gpu (FakeNodeClass.fake.sh) does not exist: create it, or refer to one that"
        " does"
    )
    assert classy.cloud.calls == []


async def test_a_class_that_the_cache_has_not_seen_yet_is_not_missing(classy: World) -> None:
    add_class(classy, {"status": "True"})
    classy.node_classes[KIND].replace(())

    await classy.reconcile()

    assert classy.claim().is_true("Launched")


@pytest.mark.parametrize(
    "ready",
    [
        pytest.param(None, id="nobody has looked"),
        pytest.param({"status": "Unknown"}, id="unknown"),
        pytest.param({"status": "True", "observedGeneration": 1}, id="said of an older spec"),
        pytest.param({"status": "False", "observedGeneration": 1}, id="denied of an older spec"),
    ],
)
async def test_a_class_that_nobody_has_judged_yet_is_waited_for(
    classy: World, ready: dict[str, Any] | None
) -> None:
    add_class(classy, ready)

    assert (await classy.reconcile()).requeue_after == 10

    launched = classy.condition("Launched")
    assert (launched.status, launched.reason) == ("Unknown", "NodeClassReadinessUnknown")
    assert classy.cloud.calls == []
    assert not classy.claim().deleting


async def test_an_order_stands_whatever_becomes_of_its_class(classy: World) -> None:
    add_class(classy, {"status": "True"})
    classy.cloud.is_at_work(Pending(message="Creating", look_again=5))
    await classy.reconcile()
    add_class(classy, {"status": "False", "reason": "Hiccup"})

    await classy.reconcile()

    assert classy.claim().is_true("Launched")


async def test_classes_that_are_mere_names_are_not_looked_up(classy: World) -> None:
    classy.add_claim("kaito", labels={"kaito.sh/workspace": "phi"})

    await classy.reconcile("kaito")

    assert classy.claim("kaito").is_true("Launched")
