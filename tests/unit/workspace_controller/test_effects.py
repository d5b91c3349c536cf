"""What an edit means, and what is said of it while it is carried out."""

from __future__ import annotations

import pytest

from apis.kaito.v1beta1.status import Rollout
from workspace_controller.workspace import effects
from workspace_controller.workspace.effects import Meaning
from workspace_controller.workspace.rollout import REPLACING, STUCK, SURGING, Move

BEFORE = {
    "nodes": 1,
    "pod_hash": "a",
    "hot": "x",
    "instance_type": "small",
    "endpoint": "ClusterIP",
}


@pytest.mark.parametrize(
    ("after", "effect"),
    [
        ({}, "None"),
        ({"hot": "y"}, "Hot"),
        ({"endpoint": "LoadBalancer"}, "Hot"),
        ({"pod_hash": "b", "hot": "y"}, "RollPods"),
        ({"nodes": 2, "pod_hash": "b"}, "ReplaceNodes"),
        ({"instance_type": "large", "pod_hash": "b"}, "ReplaceNodes"),
        ({"node_labels": {"zone": "b"}, "pod_hash": "b"}, "ReplaceNodes"),
    ],
)
def test_the_largest_of_what_it_takes(after, effect):
    assert effects.effect(Meaning(**BEFORE), Meaning(**{**BEFORE, **after})) == effect


def test_a_stateful_set_that_does_not_say_its_nodes_is_not_taken_to_lie_on_none():
    assert effects.effect(Meaning(nodes=0, pod_hash="a"), Meaning(nodes=1, pod_hash="b")) == (
        "RollPods"
    )


def told(phase: str, effect: str = "RollPods") -> Rollout:
    return Rollout(effect=effect, phase=phase)


def report(before, move, meant="None", *, edited=False):
    after, events = effects.report(before, move, meant, edited=edited, number=3)
    return (after and (after.effect, after.phase)), [event.reason for event in events]


@pytest.mark.parametrize("before", [None, told("Complete")])
def test_while_nothing_is_replaced_nothing_is_said(before):
    assert report(before, Move(1)) == (None, [])
    starting = Move(1, phase=REPLACING, starting=True)
    assert report(before, starting) == (None, [])
    failing = Move(1, phase=STUCK, starting=True)
    assert report(before, failing) == (None, [])


def test_a_rollout_from_its_start_to_its_end():
    assert report(None, Move(2, phase=SURGING), "RollPods", edited=True) == (
        ("RollPods", SURGING),
        ["RolloutStarted"],
    )
    assert report(told(SURGING), Move(2, phase=REPLACING)) == (("RollPods", REPLACING), [])
    again = Move(1, phase=REPLACING, starting=True)
    assert report(told(REPLACING), again) == (("RollPods", REPLACING), [])
    assert report(told(REPLACING), Move(1)) == (("RollPods", "Complete"), ["RolloutComplete"])


def test_that_it_is_stuck_is_said_once():
    stuck = Move(2, phase=STUCK)
    assert report(told(SURGING), stuck) == (("RollPods", STUCK), ["RolloutStuck"])
    assert report(told(STUCK), stuck) == (("RollPods", STUCK), [])
    assert report(told("Complete"), stuck) == (
        ("RollPods", STUCK),
        ["RolloutStarted", "RolloutStuck"],
    )


def test_pods_that_are_replaced_are_replaced_whatever_was_remembered_of_the_edit():
    assert report(None, Move(2, phase=SURGING))[0] == ("RollPods", SURGING)
    assert report(told(REPLACING, "ReplaceNodes"), Move(2, phase=REPLACING))[0] == (
        "ReplaceNodes",
        REPLACING,
    )


@pytest.mark.parametrize("meant", ["None", "Hot"])
def test_an_edit_that_replaces_nothing_is_complete_at_once(meant):
    assert report(None, Move(1), meant, edited=True) == ((meant, "Complete"), [])
    assert report(told("Complete"), Move(1), meant, edited=True) == ((meant, "Complete"), [])
