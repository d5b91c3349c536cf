"""Which pod goes when: single worlds as a table, and whole rollouts played to their end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import msgspec
import pytest

from kube.meta import Condition, ObjectMeta
from kube.objects import ContainerState, ContainerStateWaiting, ContainerStatus, Pod, PodSpec
from kube.objects import PodStatus as Status
from tests.builders import NOW
from workspace_controller.manifests.podhash import POD_HASH_ANNOTATION
from workspace_controller.workspace.rollout import (
    REPLACING,
    STUCK,
    SURGING,
    Move,
    Pods,
    Target,
    is_ready,
    next_move,
)

LONG_AGO = 3600


def pod(
    ordinal: int,
    hash_: str = "new",
    *,
    ready: bool = False,
    since: float = LONG_AGO,
    unschedulable: float | None = None,
    failing: str = "",
    going: bool = False,
    node: str = "node-1",
) -> Pod:
    """`since` is how long it has been ready, `unschedulable` how long it has had no place."""
    conditions = []
    if unschedulable is not None:
        conditions.append(_told("PodScheduled", "False", "Unschedulable", unschedulable))
    conditions.append(_told("Ready", "True" if ready else "False", "", since))
    waiting = ContainerStateWaiting(reason=failing, message="it fails") if failing else None
    container = ContainerStatus(name="falcon", ready=ready, state=ContainerState(waiting=waiting))
    return Pod(
        metadata=ObjectMeta(
            name=f"falcon-{ordinal}",
            namespace="default",
            uid=f"uid-{ordinal}-{hash_}",
            annotations={POD_HASH_ANNOTATION: hash_},
            deletion_timestamp=NOW if going else None,
        ),
        spec=PodSpec(node_name="" if unschedulable is not None else node),
        status=Status(conditions=tuple(conditions), container_statuses=(container,)),
    )


def _told(kind: str, status: str, reason: str, seconds: float) -> Condition:
    return Condition(
        type=kind,
        status="True" if status == "True" else "False",
        reason=reason,
        message="0/1 nodes are available" if reason else "",
        last_transition_time=NOW - timedelta(seconds=seconds),
    )


OLD = pod(0, "old", ready=True)
TARGET = Target("falcon", nodes=1, pod_hash="new")

WORLDS = [
    pytest.param([], 0, {}, (1, 0, [], REPLACING), id="nothing yet"),
    pytest.param([pod(0, ready=True)], 0, {}, (1, 0, [], ""), id="as it should be"),
    pytest.param([pod(0)], 0, {}, (1, 0, [], REPLACING), id="it starts"),
    pytest.param([OLD], 0, {}, (2, 0, [], SURGING), id="an old one serves"),
    pytest.param([OLD, pod(1)], 0, {}, (2, 0, [], SURGING), id="the second starts"),
    pytest.param(
        [OLD, pod(1, "older")], 0, {}, (2, 0, [1], SURGING), id="the second is outdated by now"
    ),
    pytest.param(
        [OLD, pod(1, going=True)], 0, {}, (2, 0, [], SURGING), id="the outdated second is going"
    ),
    pytest.param(
        [OLD, pod(1, unschedulable=3)], 0, {}, (2, 0, [], SURGING), id="no place for the moment"
    ),
    pytest.param(
        [OLD, pod(1, unschedulable=11)], 0, {}, (1, 0, [], REPLACING), id="no place for too long"
    ),
    pytest.param(
        [OLD, pod(1, unschedulable=60)],
        0,
        {"no_room": "new"},
        (1, 0, [], REPLACING),
        id="withdrawn and still there",
    ),
    pytest.param([OLD], 0, {"no_room": "new"}, (1, 0, [0], REPLACING), id="withdrawn and gone"),
    pytest.param([OLD], 0, {"no_room": "other"}, (2, 0, [], SURGING), id="of another edit"),
    pytest.param([OLD], 0, {"surge": False}, (1, 0, [0], REPLACING), id="in place as asked for"),
    pytest.param(
        [OLD, pod(1, failing="CrashLoopBackOff")], 0, {}, (2, 0, [], STUCK), id="the edit is bad"
    ),
    pytest.param(
        [pod(0, unschedulable=3), pod(1, ready=True)],
        1,
        {},
        (2, 1, [], REPLACING),
        id="no place for the first for the moment",
    ),
    pytest.param(
        [pod(0, unschedulable=11), pod(1, ready=True)],
        1,
        {},
        (2, 1, [], ""),
        id="the second has the only place, and serves what it should",
    ),
    pytest.param(
        [pod(0, unschedulable=11), pod(1, "old", ready=True)],
        1,
        {},
        (1, 0, [], REPLACING),
        id="the second has the only place, and serves what is outdated",
    ),
    pytest.param(
        [pod(0, unschedulable=11), pod(1, "old", ready=True, going=True)],
        0,
        {},
        (1, 0, [], STUCK),
        id="and goes",
    ),
    pytest.param(
        [OLD, pod(1, failing="ImagePullBackOff")], 0, {}, (2, 0, [], STUCK), id="no such image"
    ),
    pytest.param(
        [pod(0, "old"), pod(1, failing="CrashLoopBackOff")],
        0,
        {},
        (2, 0, [], STUCK),
        id="the edit is bad and the old one not ready just now",
    ),
    pytest.param([pod(0, "old")], 0, {}, (1, 0, [0], REPLACING), id="an old one that serves not"),
    pytest.param(
        [pod(0, "old"), pod(1, unschedulable=3)],
        0,
        {},
        (1, 0, [], REPLACING),
        id="it fails while the second has no place: that goes first",
    ),
    pytest.param(
        [pod(0, "old"), pod(1)], 0, {}, (2, 0, [0], REPLACING), id="it fails, the second starts"
    ),
    pytest.param(
        [OLD, pod(1, ready=True)], 0, {}, (2, 1, [], REPLACING), id="the second is to serve"
    ),
    pytest.param(
        [OLD, pod(1, ready=True, since=1)],
        1,
        {},
        (2, 1, [], REPLACING),
        id="the second serves, and not all proxies know",
    ),
    pytest.param([OLD, pod(1, ready=True)], 1, {}, (2, 1, [0], REPLACING), id="the second serves"),
    pytest.param(
        [pod(0, "old", going=True), pod(1, ready=True)],
        1,
        {},
        (2, 1, [], REPLACING),
        id="the first is going",
    ),
    pytest.param([pod(1, ready=True)], 1, {}, (2, 1, [], REPLACING), id="the first is gone"),
    pytest.param([pod(0), pod(1, ready=True)], 1, {}, (2, 1, [], REPLACING), id="the first starts"),
    pytest.param(
        [pod(0, failing="CrashLoopBackOff"), pod(1, ready=True)],
        1,
        {},
        (2, 1, [], STUCK),
        id="the first fails where the second does not",
    ),
    pytest.param(
        [pod(0, "newer"), pod(1, ready=True)],
        1,
        {},
        (2, 1, [0], REPLACING),
        id="another edit while the second serves",
    ),
    pytest.param(
        [pod(0, "old", ready=True), pod(1, "older", ready=True)],
        1,
        {},
        (2, 1, [0], REPLACING),
        id="another edit, and the second of an earlier one serves",
    ),
    pytest.param(
        [pod(0, ready=True), pod(1, ready=True)],
        1,
        {},
        (2, 0, [], REPLACING),
        id="the first is back",
    ),
    pytest.param(
        [pod(0, ready=True, since=1), pod(1, ready=True)],
        0,
        {},
        (2, 0, [], REPLACING),
        id="the first serves, and not all proxies know",
    ),
    pytest.param(
        [pod(0, ready=True), pod(1, ready=True)],
        0,
        {},
        (1, 0, [], REPLACING),
        id="the second is not needed any more",
    ),
    pytest.param(
        [pod(0, ready=True), pod(1, "bad", failing="CrashLoopBackOff")],
        0,
        {},
        (1, 0, [], REPLACING),
        id="a bad edit was taken back",
    ),
]


@pytest.mark.parametrize(("pods", "selected", "target", "expected"), WORLDS)
def test_the_next_move_on_one_node(pods, selected, target, expected):
    move = next_move(replace(TARGET, **target), Pods(NOW, pods, selected))
    outgoing = [int(each.metadata.name.rpartition("-")[2]) for each in move.outgoing]
    assert (move.replicas, move.selected, outgoing, move.phase) == expected


@pytest.mark.parametrize(
    ("pods", "outgoing", "phase"),
    [
        pytest.param([], [], REPLACING, id="nothing yet"),
        pytest.param([pod(0, ready=True), pod(1, ready=True)], [], "", id="as it should be"),
        pytest.param([OLD, pod(1, "old", ready=True)], [0, 1], REPLACING, id="all together"),
        pytest.param([OLD, pod(1)], [0], REPLACING, id="one has gone before a crash"),
        pytest.param(
            [pod(0, "old", going=True), pod(1, "old")], [1], REPLACING, id="one is on its way"
        ),
        pytest.param([pod(0, ready=True), pod(1)], [], REPLACING, id="they start"),
        pytest.param([pod(0, failing="CrashLoopBackOff"), pod(1)], [], STUCK, id="the edit is bad"),
    ],
)
def test_one_engine_over_several_nodes_is_replaced_as_one(pods, outgoing, phase):
    move = next_move(replace(TARGET, nodes=2), Pods(NOW, pods))
    names = [f"falcon-{ordinal}" for ordinal in outgoing]
    assert [each.metadata.name for each in move.outgoing] == names
    assert (move.replicas, move.selected, move.phase) == (2, 0, phase)


def test_it_looks_again_when_the_second_may_have_waited_long_enough():
    move = next_move(TARGET, Pods(NOW, [OLD, pod(1, unschedulable=4)]))
    assert move.look_again == 6


def test_the_reason_is_told_in_the_words_of_the_scheduler_or_the_kubelet():
    no_place = next_move(TARGET, Pods(NOW, [OLD, pod(1, unschedulable=30)]))
    assert "0/1 nodes are available" in no_place.message
    bad = next_move(TARGET, Pods(NOW, [OLD, pod(1, failing="CrashLoopBackOff")]))
    assert bad.message == "falcon-0 is left as it was: pod falcon-1: container falcon: it fails"


@dataclass
class Played:
    """A cluster with room for so many pods: StatefulSet controller, scheduler and kubelet in a few
    lines. Our own moves are carried out in the order in which a round does it, and may end after
    any of them, as where the process is killed."""

    room: int
    good: Callable[[str], bool]
    template: str = "old"
    replicas: int = 1
    selected: int = 0
    no_room: str = ""
    clock: float = 0.0
    pods: dict[int, Pod] = field(default_factory=dict)
    unserved: int = 0

    def __post_init__(self) -> None:
        self.pods[0] = self._made(0)
        for _ in range(10):
            self.settle()
        self.unserved = 0

    def edit(self, hash_: str, *, surge: bool = True, rounds: int = 60, dies: int = 99) -> Move:
        """Rounds of a second or so, until nothing is left to do; the first is cut short after
        `dies` writes."""
        target = Target("falcon", 1, hash_, surge=surge)
        move = Move(1)
        for number in range(rounds):
            known = replace(target, no_room=self.no_room)
            move = next_move(known, Pods(self._now(), list(self.pods.values()), self.selected))
            self._carry_out(move, hash_, dies if number % 2 == 0 else 99)
            self.settle()
        return move

    def _carry_out(self, move: Move, hash_: str, writes: int) -> None:
        stored = (self.template, self.replicas, self.no_room) == (
            hash_,
            move.replicas,
            move.no_room,
        )
        todo: list[Callable[[], None]] = []
        if stored:
            todo += [lambda each=each: self._delete(each) for each in move.outgoing]
        todo.append(lambda: setattr(self, "selected", move.selected))
        todo.append(lambda: self._apply(hash_, move))
        for write in todo[:writes]:
            write()
            self._count()

    def settle(self) -> None:
        """The others have their turn, and a second goes by."""
        self.clock += 1
        for ordinal in [each for each in self.pods if each >= self.replicas]:
            del self.pods[ordinal]
        for ordinal in range(self.replicas):
            self.pods.setdefault(ordinal, self._made(ordinal))
        placed = sum(bool(each.spec.node_name) for each in self.pods.values())
        for ordinal, each in sorted(self.pods.items()):
            if not each.spec.node_name and placed < self.room:
                placed += 1
                self.pods[ordinal] = self._on_its_way(ordinal, each, ready=False)
            elif each.spec.node_name and not is_ready(each):
                self.pods[ordinal] = self._on_its_way(ordinal, each, ready=True)
        self._count()

    def _count(self) -> None:
        self.unserved += not is_ready(self.pods.get(self.selected))

    def _delete(self, gone: Pod) -> None:
        self.pods.pop(int(gone.metadata.name.rpartition("-")[2]))

    def _apply(self, hash_: str, move: Move) -> None:
        self.template, self.replicas, self.no_room = hash_, move.replicas, move.no_room

    def _made(self, ordinal: int) -> Pod:
        return self._stamped(pod(ordinal, self.template, unschedulable=0))

    def _on_its_way(self, ordinal: int, was: Pod, *, ready: bool) -> Pod:
        hash_ = was.metadata.annotations[POD_HASH_ANNOTATION]
        failing = "" if self.good(hash_) else "CrashLoopBackOff"
        return self._stamped(pod(ordinal, hash_, ready=ready and not failing, failing=failing))

    def _stamped(self, made: Pod) -> Pod:
        dated = tuple(
            msgspec.structs.replace(each, last_transition_time=self._now())
            for each in made.status.conditions
        )
        status = msgspec.structs.replace(made.status, conditions=dated)
        return msgspec.structs.replace(made, status=status)

    def _now(self):
        return NOW + timedelta(seconds=self.clock)

    @property
    def result(self) -> dict[int, str]:
        return {
            ordinal: each.metadata.annotations[POD_HASH_ANNOTATION]
            for ordinal, each in sorted(self.pods.items())
        }


@pytest.mark.parametrize("dies", [0, 1, 2, 99])
def test_with_room_for_two_an_edit_costs_no_service(dies):
    world = Played(room=2, good=lambda _: True)
    assert world.edit("new", dies=dies).phase == ""
    assert (world.result, world.selected, world.replicas) == ({0: "new"}, 0, 1)
    assert world.unserved == 0


@pytest.mark.parametrize("dies", [0, 1, 2, 99])
def test_without_room_the_pod_is_replaced_in_place_and_once(dies):
    world = Played(room=1, good=lambda _: True)
    assert world.edit("new", dies=dies).phase == ""
    assert (world.result, world.selected, world.replicas) == ({0: "new"}, 0, 1)
    assert 0 < world.unserved < 8
    before = world.unserved
    world.edit("new")
    assert world.unserved == before


@pytest.mark.parametrize("dies", [0, 1, 2, 99])
def test_a_bad_edit_costs_no_service_and_can_be_taken_back(dies):
    world = Played(room=2, good=lambda hash_: hash_ != "bad")
    assert world.edit("bad", dies=dies).phase == STUCK
    assert world.result == {0: "old", 1: "bad"}
    assert world.edit("old", dies=dies).phase == ""
    assert (world.result, world.unserved) == ({0: "old"}, 0)


@pytest.mark.parametrize("rounds", range(1, 25))
@pytest.mark.parametrize("last", ["old", "newer"])
def test_an_edit_at_any_moment_of_a_rollout_costs_no_service(rounds, last):
    world = Played(room=2, good=lambda _: True)
    world.edit("new", rounds=rounds)
    assert world.edit(last).phase == ""
    assert (world.result, world.selected, world.unserved) == ({0: last}, 0, 0)


@pytest.mark.parametrize("rounds", range(1, 25))
def test_a_bad_edit_at_any_moment_of_a_rollout_leaves_something_that_serves(rounds):
    world = Played(room=2, good=lambda hash_: hash_ != "bad")
    world.edit("new", rounds=rounds)
    assert world.edit("bad").phase == STUCK
    assert world.unserved == 0
    assert world.edit("newer").phase == ""
    assert (world.result, world.unserved) == ({0: "newer"}, 0)


def where_the_second_has_the_only_place() -> Played:
    """As when the node that the first was on goes while the second serves on the next."""
    world = Played(room=2, good=lambda _: True)
    while world.selected == 0:
        world.edit("new", rounds=1)
    world.room = 1
    assert world.edit("new").phase == "", "nothing is left to do"
    assert (world.result, world.selected, world.unserved) == ({0: "new", 1: "new"}, 1, 0)
    assert not world.pods[0].spec.node_name
    return world


def test_a_second_that_has_the_only_place_makes_way_for_the_next_edit():
    world = where_the_second_has_the_only_place()
    assert world.edit("newer").phase == ""
    assert (world.result, world.selected, world.replicas) == ({0: "newer"}, 0, 1)
    assert 0 < world.unserved < 8


def test_a_second_that_has_the_only_place_goes_without_an_outage_where_there_is_another():
    world = where_the_second_has_the_only_place()
    world.room = 2
    assert world.edit("new").phase == ""
    assert (world.result, world.selected, world.unserved) == ({0: "new"}, 0, 0)


def test_in_place_no_second_pod_is_ever_asked_for():
    world = Played(room=2, good=lambda _: True)
    world.edit("new", surge=False)
    assert (world.result, world.no_room) == ({0: "new"}, "")
    assert world.unserved > 0
