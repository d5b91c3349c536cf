"""NodeClaim: the arithmetic of its conditions, and what crosses the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.nodeclaim import NodeClaim, Taint
from kube.meta import Condition

BORN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BORN + timedelta(minutes=5)


def a_claim(generation: int = 1, **metadata: Any) -> NodeClaim:
    return NodeClaim.model_validate(
        {
            "metadata": {
                "name": "ws1",
                "generation": generation,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                **metadata,
            },
            "spec": {
                "nodeClassRef": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
                "requirements": [
                    {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["x"]}
                ],
            },
        }
    )


def statuses(claim: NodeClaim) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in claim.status.conditions}


def test_first_touch_creates_what_feeds_ready_as_of_the_creation() -> None:
    claim = a_claim().with_condition(c.LAUNCHED, "Unknown", "LaunchFailed", "no", now=NOW)
    assert statuses(claim) == {
        c.LAUNCHED: ("Unknown", "LaunchFailed"),
        c.REGISTERED: ("Unknown", "AwaitingReconciliation"),
        c.INITIALIZED: ("Unknown", "AwaitingReconciliation"),
        c.READY: ("Unknown", "ReconcilingDependents"),
    }
    assert {each.last_transition_time for each in claim.status.conditions} == {BORN}
    assert claim.condition(c.REGISTERED).message == "object is awaiting reconciliation"


def test_a_condition_never_set_is_unknown() -> None:
    assert a_claim().condition(c.DRIFTED) == Condition(
        type=c.DRIFTED,
        status="Unknown",
        reason="AwaitingReconciliation",
        message="object is awaiting reconciliation",
    )


def test_true_takes_the_type_as_its_reason_and_moves_the_transition() -> None:
    claim = a_claim().with_condition(c.LAUNCHED, "True", now=NOW)
    assert claim.is_true(c.LAUNCHED)
    assert claim.condition(c.LAUNCHED).reason == "Launched"
    assert claim.condition(c.LAUNCHED).message == ""
    assert claim.condition(c.LAUNCHED).last_transition_time == NOW


def test_another_reason_keeps_the_transition() -> None:
    first = a_claim().with_condition(c.REGISTERED, "Unknown", "NodeNotFound", "a", now=NOW)
    later = first.with_condition(
        c.REGISTERED, "Unknown", "RegistrationHookPending", "b", now=NOW + timedelta(hours=1)
    )
    assert later.condition(c.REGISTERED).last_transition_time == BORN
    assert later.condition(c.REGISTERED).message == "b"


def all_true(claim: NodeClaim, now: datetime = NOW) -> NodeClaim:
    for kind in c.READY_DEPENDENTS:
        claim = claim.with_condition(kind, "True", now=now)
    return claim


def test_ready_is_the_sum() -> None:
    claim = all_true(a_claim())
    assert claim.is_true(c.READY)
    assert claim.condition(c.READY).reason == "Ready"
    assert claim.condition(c.READY).message == ""


def test_ready_is_false_where_a_dependent_is() -> None:
    claim = a_claim().with_condition(c.LAUNCHED, "True", now=NOW)
    claim = claim.with_condition(c.REGISTERED, "False", "MultipleNodesFound", now=NOW)
    ready = claim.condition(c.READY)
    assert (ready.status, ready.reason) == ("False", "UnhealthyDependents")
    assert ready.message == "Registered=False, Initialized=Unknown"


def test_a_dependent_of_an_older_generation_counts_as_unknown() -> None:
    old = all_true(a_claim(generation=1))
    newer = a_claim(generation=2).model_copy(update={"status": old.status})
    newer = newer.with_condition(c.LAUNCHED, "True", now=NOW)
    assert newer.condition(c.READY).status == "Unknown"
    assert newer.condition(c.READY).message == "Registered=Unknown, Initialized=Unknown"
    assert all_true(newer).is_true(c.READY)


def test_other_conditions_do_not_feed_ready() -> None:
    claim = all_true(a_claim()).with_condition(c.DRIFTED, "False", "x", now=NOW)
    assert claim.is_true(c.READY)


def test_while_deleting_all_follow_the_generation() -> None:
    old = all_true(a_claim(generation=1))
    going = a_claim(generation=3, deletionTimestamp="2026-01-01T01:00:00Z")
    going = going.model_copy(update={"status": old.status})
    going = going.with_condition(c.DRAINED, "Unknown", "Draining", now=NOW)
    assert going.deleting
    assert {each.observed_generation for each in going.status.conditions} == {3}
    assert going.is_true(c.READY)


def test_order_is_by_transition_with_ready_last() -> None:
    claim = a_claim().with_condition(c.INITIALIZED, "True", now=NOW)
    claim = claim.with_condition(c.LAUNCHED, "True", now=NOW + timedelta(seconds=1))
    assert [each.type for each in claim.status.conditions] == [
        c.REGISTERED,
        c.INITIALIZED,
        c.LAUNCHED,
        c.READY,
    ]


def test_only_what_does_not_feed_ready_can_be_cleared() -> None:
    claim = a_claim().with_condition(c.DRIFTED, "True", now=NOW)
    assert c.DRIFTED not in statuses(claim.without_condition(c.DRIFTED))
    with pytest.raises(ValueError, match="feeds Ready"):
        claim.without_condition(c.LAUNCHED)


def test_wire_times_are_whole_seconds_as_go_writes_them() -> None:
    claim = a_claim().with_condition(c.LAUNCHED, "True", now=NOW.replace(microsecond=123456))
    launched = next(x for x in claim.to_json()["status"]["conditions"] if x["type"] == c.LAUNCHED)
    assert launched == {
        "type": "Launched",
        "status": "True",
        "reason": "Launched",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:05:00Z",
        "observedGeneration": 1,
    }


def test_round_trip_keeps_what_was_set_and_adds_nothing() -> None:
    wire = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": "a", "labels": {"karpenter.sh/nodepool": "kaito"}},
        "spec": {
            "nodeClassRef": {"group": "g", "kind": "k", "name": "n"},
            "requirements": [{"key": "a", "operator": "Gt", "values": ["1"], "minValues": 2}],
            "resources": {"requests": {"storage": "1024Gi"}},
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            "expireAfter": "Never",
        },
        "status": {"providerID": "local:///a", "imageID": "i", "nodeName": "a"},
    }
    claim = NodeClaim.model_validate(wire)
    assert claim.manifest() == wire
    assert claim.status.provider_id == "local:///a"


def test_reads_what_an_older_crd_let_in() -> None:
    """An empty group, a number as quantity, unknown fields: a controller must see them all."""
    claim = NodeClaim.model_validate(
        {
            "metadata": {"name": "a", "managedFields": []},
            "spec": {
                "nodeClassRef": {"group": "", "kind": "", "name": "n"},
                "requirements": [{"key": "k", "operator": "Near"}],
                "resources": {"requests": {"nvidia.com/gpu": 1}},
                "future": {},
            },
        }
    )
    assert claim.spec.resources.requests == {"nvidia.com/gpu": "1"}
    assert claim.spec.expire_after == "720h"


def test_taints_match_by_key_and_effect() -> None:
    one, other = Taint(key="k", effect="NoSchedule", value="a"), Taint(key="k", effect="NoSchedule")
    assert one.matches(other)
    assert not one.matches(Taint(key="k", effect="NoExecute"))
    assert str(one) == "k=a:NoSchedule"
