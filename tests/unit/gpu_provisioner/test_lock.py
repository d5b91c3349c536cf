"""Our own writes are known before the cache shows them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.provider import Pending
from gpu_provisioner import lock
from gpu_provisioner.bounded import AT_ONCE
from gpu_provisioner.lock import Written
from kube.errors import ConflictError
from kube.meta import ObjectMeta
from kube.objects import Node
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World


def version(number: str, uid: str = "u") -> Node:
    return Node(metadata=ObjectMeta(name="n", uid=uid, resource_version=number))


@pytest.fixture
def written() -> Written[Node]:
    return Written()


def wrote(written: Written[Node], seen: Node, gave: Node) -> None:
    written.note(seen.metadata, gave)


def test_whoever_sees_what_was_replaced_gets_the_last_of_our_writes(written: Written[Node]) -> None:
    wrote(written, version("a"), version("b"))
    wrote(written, version("b"), version("c"))
    for seen in ("a", "b"):
        assert written.latest(version(seen)).metadata.resource_version == "c"


def test_the_cache_is_believed_once_it_is_further(written: Written[Node]) -> None:
    wrote(written, version("a"), version("b"))
    theirs = version("d")
    assert written.latest(theirs) is theirs
    assert written.latest(version("a")).metadata.resource_version == "a", "nothing is kept"


def test_another_object_of_that_name_is_another(written: Written[Node]) -> None:
    wrote(written, version("a"), version("b"))
    assert written.latest(version("a", uid="v")).metadata.uid == "v"


def test_answers_may_overtake_each_other(written: Written[Node]) -> None:
    wrote(written, version("b"), version("c"))
    wrote(written, version("a"), version("b"))
    assert written.latest(version("a")).metadata.resource_version == "c"


def test_a_write_that_changed_nothing_replaces_nothing(written: Written[Node]) -> None:
    seen = version("a")
    wrote(written, seen, version("a"))
    assert written.latest(seen) is seen


def test_only_so_many_are_remembered(
    written: Written[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "REMEMBERED", 2)
    for uid in ("u", "v", "w"):
        wrote(written, version("a", uid), version("b", uid))
    found = [written.latest(version("a", uid)).metadata.resource_version for uid in ("u", "v", "w")]
    assert found == ["a", "b", "b"]


async def test_a_claims_life_goes_on_from_what_it_has_written_itself(world: World) -> None:
    world.add_claim()
    world.cloud.is_at_work(Pending(message="Creating", look_again=5.0))
    behind = world.claim()

    await world.lifecycle.reconcile(behind)
    await world.lifecycle.reconcile(behind)

    assert world.claim().is_true("Launched")


async def test_what_somebody_else_has_written_since_is_still_a_conflict(world: World) -> None:
    world.add_claim()
    world.cloud.is_at_work(Pending(message="Creating", look_again=5.0))
    behind = world.claim()
    await world.lifecycle.reconcile(behind)
    world.kube.change(NODE_CLAIMS, "ws1", {"metadata": {"labels": {"theirs": "x"}}})

    with pytest.raises(ConflictError):
        await world.lifecycle.reconcile(behind)


async def test_a_node_is_registered_and_initialized_though_the_cache_is_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id))
    monkeypatch.setattr(world.stores.nodes, "put", lambda _: None)

    await world.reconcile()

    assert world.claim().is_true("Ready")


async def test_the_api_server_is_not_asked_for_everything_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, running, most = world.kube.patch, [0], [0]

    async def slowly(*given: Any, **named: Any) -> Any:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0)
        running[0] -= 1
        return await patch(*given, **named)

    monkeypatch.setattr(world.kube, "patch", slowly)
    names = [f"ws{number}" for number in range(50)]
    for name in names:
        world.add_claim(name)
    await asyncio.gather(*(world.reconcile(name) for name in names))

    assert all(world.claim(name).is_true("Launched") for name in names)
    assert most[0] == AT_ONCE
