"""What counts as a setback of a pool, and what ends it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from gpu_provisioner.nodepool.setbacks import Setbacks
from tests.fakes.clock import FakeClock
from tests.fakes.objects import claim_manifest
from tests.fakes.pools import pool_manifest


def a_pool(generation: int = 1) -> NodePool:
    manifest = pool_manifest()
    manifest["metadata"] |= {"uid": "pool-uid", "generation": generation}
    return NODE_POOLS.decode(msgspec.json.encode(manifest))


def a_claim(*, initialized: bool = False, deleting: bool = False, uid: str = "a") -> NodeClaim:
    manifest = claim_manifest()
    owner = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "pool", "uid": "pool-uid"}
    manifest["metadata"] |= {"uid": uid, "ownerReferences": [owner]}
    if deleting:
        manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    done: list[dict[str, Any]] = [
        {"type": kind, "status": "True"} for kind in ("Launched", "Registered", "Initialized")
    ]
    waits = {"type": "Launched", "status": "Unknown", "reason": "Quota", "message": "none left"}
    manifest["status"] = {"conditions": done if initialized else [waits]}
    return NODE_CLAIMS.decode(msgspec.json.encode(manifest))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def setbacks(clock: FakeClock) -> Setbacks:
    return Setbacks(clock, (10.0, 600.0))


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        pytest.param(a_claim(), None, True, id="gone before it was of use"),
        pytest.param(a_claim(), a_claim(deleting=True), True, id="begins to end before that"),
        pytest.param(a_claim(deleting=True), None, False, id="its end was seen coming"),
        pytest.param(None, a_claim(deleting=True), False, id="first seen while it ends"),
        pytest.param(a_claim(initialized=True), None, False, id="a node that worked"),
        pytest.param(a_claim(), a_claim(), False, id="nothing of note"),
    ],
)
def test_what_counts(
    setbacks: Setbacks, old: NodeClaim | None, new: NodeClaim | None, counts: bool
) -> None:
    setbacks.claim_changed(old, new)
    assert (setbacks.of(a_pool()) is not None) == counts


def test_the_reason_is_that_of_the_stage_that_it_got_stuck_in(setbacks: Setbacks) -> None:
    setbacks.claim_changed(a_claim(), None)
    found = setbacks.of(a_pool())
    assert found is not None
    assert (found.reason, found.message) == ("Quota", "none left")


def test_claims_of_one_try_count_once(setbacks: Setbacks, clock: FakeClock) -> None:
    for uid in "abc":
        setbacks.claim_changed(a_claim(uid=uid), None)
        clock.advance(1)
    found = setbacks.of(a_pool())
    assert found is not None
    assert found.tries == 1
    clock.advance(8)
    assert setbacks.of(a_pool()) is None


def test_a_node_that_works_ends_it(setbacks: Setbacks, clock: FakeClock) -> None:
    setbacks.claim_changed(a_claim(), None)
    clock.advance(10)
    setbacks.claim_changed(a_claim(uid="b"), a_claim(uid="b", initialized=True))
    setbacks.claim_changed(a_claim(), None)
    found = setbacks.of(a_pool())
    assert found is not None
    assert found.tries == 1


def test_so_does_an_edit_of_the_pool_but_not_its_status(setbacks: Setbacks) -> None:
    setbacks.claim_changed(a_claim(), None)
    setbacks.pool_changed(a_pool(1), a_pool(1))
    assert setbacks.of(a_pool()) is not None
    setbacks.pool_changed(a_pool(1), a_pool(2))
    assert setbacks.of(a_pool()) is None


def test_our_own_deletes_do_not_count(setbacks: Setbacks) -> None:
    setbacks.ending(a_claim())
    setbacks.claim_changed(a_claim(), None)
    assert setbacks.of(a_pool()) is None
