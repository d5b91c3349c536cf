"""Nodes by NodeClaim: what is made, what is remembered, what is said."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis.gpu import GPU
from kube.objects import Taint
from tests.builders import (
    NOW,
    OWNED,
    UID,
    a_claim,
    a_node,
    a_pod,
    a_stateful_set,
    a_workspace,
    a_world,
    settings,
)
from workspace_controller.errors import UserError
from workspace_controller.manifests.scheduling import named, node_affinity
from workspace_controller.nodes import attempts
from workspace_controller.nodes.attempts import ATTEMPTS_ANNOTATION, Attempt, claim_name
from workspace_controller.nodes.provisioner import Need, NodeShape

NODES = settings().nodes
SHAPE = NodeShape("local-gpu-1", GPU(1, "NVIDIA-A10", 24.0), 4, 12.0)
FIRST, SECOND, THIRD = (claim_name(UID, 0, number) for number in (1, 2, 3))


TYPE_KEY = "node.kubernetes.io/instance-type"
TYPE = {TYPE_KEY: "local-gpu-1"}


def need(nodes: int = 1) -> Need:
    return Need(SHAPE, nodes, 82)


def remembering(**memory: Attempt):
    """The Workspace with what it remembers: `_0=Attempt(…)` for ordinal 0."""
    stored = attempts.write({int(name[1:]): attempt for name, attempt in memory.items()})
    return a_workspace(annotations={ATTEMPTS_ANNOTATION: stored})


def created(plan) -> list[str]:
    return [manifest["metadata"]["name"] for manifest in plan.create]


def remembered(plan) -> dict[int, Attempt]:
    return attempts.read(plan.annotations)


def said(plan, kind: str) -> tuple[str, str]:
    return next((c.status, c.reason) for c in plan.conditions if c.type == kind)


def message(plan, kind: str) -> str:
    return next(c.message for c in plan.conditions if c.type == kind)


def test_a_new_workspace_gets_a_claim_and_remembers_it_first():
    plan = NODES.plan(a_workspace(), a_world(), need())
    assert created(plan) == [FIRST]
    assert remembered(plan) == {0: Attempt(1)}


def test_a_claim_for_each_node():
    plan = NODES.plan(a_workspace(), a_world(), need(3))
    assert created(plan) == [claim_name(UID, ordinal, 1) for ordinal in range(3)]


def test_a_crash_before_the_create_repeats_the_same_name():
    plan = NODES.plan(remembering(_0=Attempt(1)), a_world(), need())
    assert created(plan) == [FIRST]
    assert plan.annotations == {}


def test_a_claim_that_exists_is_not_made_again_and_nothing_is_written_for_it():
    plan = NODES.plan(remembering(_0=Attempt(1)), a_world(claims=(a_claim(FIRST),)), need())
    assert created(plan) == []
    assert plan.annotations == {}


def test_that_a_claim_was_made_is_written_along_with_the_next_change():
    claims = (a_claim(FIRST, ordinal=0), a_claim("wsb00000000", ordinal=1, deleting=True))
    before = remembering(_0=Attempt(1), _1=Attempt(4, made=True))
    plan = NODES.plan(before, a_world(claims=claims), need(2))
    assert remembered(plan) == {0: Attempt(1, made=True), 1: Attempt(5, losses=1)}


def test_a_claim_that_was_deleted_is_replaced_at_once_by_the_next_attempt():
    plan = NODES.plan(remembering(_0=Attempt(1, made=True)), a_world(), need())
    assert created(plan) == [SECOND]
    assert remembered(plan) == {0: Attempt(2, losses=1)}


def test_a_replacement_does_not_wait_for_its_predecessor_to_drain():
    seen = a_world(claims=(a_claim(FIRST, deleting=True),))
    plan = NODES.plan(remembering(_0=Attempt(1, made=True)), seen, need())
    assert created(plan) == [SECOND]


def test_a_claim_is_lost_once_however_long_it_drains():
    seen = a_world(claims=(a_claim(FIRST, deleting=True), a_claim(SECOND)))
    plan = NODES.plan(remembering(_0=Attempt(2, made=True, losses=1)), seen, need())
    assert created(plan) == []
    assert plan.annotations == {}


def test_the_second_loss_in_a_row_waits_and_says_when_to_look_again():
    workspace = remembering(_0=Attempt(2, made=True, losses=1))
    plan = NODES.plan(workspace, a_world(), need())
    assert created(plan) == []
    assert plan.look_again == 10
    assert remembered(plan)[0].number == 3


def test_after_the_pause_the_attempt_is_made():
    waiting = Attempt(3, losses=2, not_before=NOW + timedelta(seconds=10))
    early = NODES.plan(remembering(_0=waiting), a_world(now=NOW + timedelta(seconds=9)), need())
    due = NODES.plan(remembering(_0=waiting), a_world(now=NOW + timedelta(seconds=10)), need())
    assert (created(early), early.look_again) == ([], 1)
    assert (created(due), due.look_again) == ([THIRD], None)


def test_the_reason_of_a_lost_claim_reaches_the_user_and_stays():
    gone = a_claim(
        FIRST, deleting=True, launched=("False", "InsufficientCapacity", "no A10 in zone a")
    )
    plan = NODES.plan(remembering(_0=Attempt(1, made=True)), a_world(claims=(gone,)), need())
    assert said(plan, "NodeClaimReady") == ("False", "InsufficientCapacity")
    assert said(plan, "ResourceReady") == ("False", "InsufficientCapacity")

    later = NODES.plan(a_workspace(annotations=plan.annotations), a_world(), need())
    assert said(later, "ResourceReady") == ("False", "InsufficientCapacity")
    assert message(later, "ResourceReady") == "no A10 in zone a; attempt 2 follows"


def test_a_claim_that_came_and_went_between_two_rounds_was_lost_and_its_words_stay():
    """Or it would be made again and again, without a pause."""
    gone = a_claim(FIRST, launched=("Unknown", "InsufficientCapacity", "no A10 in zone a"))
    plan = NODES.plan(remembering(_0=Attempt(1)), a_world(departed=(gone,)), need())
    assert created(plan) == [SECOND]
    assert said(plan, "ResourceReady") == ("False", "InsufficientCapacity")
    again = NODES.plan(
        remembering(_0=Attempt(2, losses=1)), a_world(departed=(a_claim(SECOND),)), need()
    )
    assert (created(again), again.look_again) == ([], 10)


def test_a_claim_that_is_there_again_is_not_lost():
    seen = a_world(claims=(a_claim(FIRST),), departed=(a_claim(FIRST),))
    plan = NODES.plan(remembering(_0=Attempt(1, made=True)), seen, need())
    assert (created(plan), plan.annotations) == ([], {})


def test_a_claim_that_went_without_a_word_is_named():
    plan = NODES.plan(remembering(_0=Attempt(2, made=True, losses=1)), a_world(), need())
    assert message(plan, "NodeClaimReady") == (
        f"NodeClaim {SECOND} was deleted before it was ready; attempt 3 follows after 12:00:10 UTC"
    )


def test_a_ready_claim_forgives_earlier_losses():
    claim = a_claim(SECOND, node="node-1", ready=True)
    workspace = remembering(_0=Attempt(2, made=True, losses=1, reason="Sold"))
    plan = NODES.plan(workspace, a_world(claims=(claim,), nodes=(a_node(),)), need())
    assert remembered(plan) == {0: Attempt(2, made=True)}


def test_ready_claims_and_nodes_make_the_resource_ready():
    claim = a_claim(FIRST, node="node-1", ready=True)
    workspace = remembering(_0=Attempt(1, made=True))
    plan = NODES.plan(workspace, a_world(claims=(claim,), nodes=(a_node(),)), need())
    assert said(plan, "NodeClaimReady") == ("True", "NodeClaimsReady")
    assert said(plan, "NodesReady") == ("True", "NodesReady")
    assert said(plan, "ResourceReady") == ("True", "workspaceResourceStatusSuccess")
    assert plan.waits_for is None
    assert plan.worker_nodes == ("node-1",)
    assert (plan.create, plan.delete, plan.annotations) == ((), (), {})


def test_a_provider_without_conditions_is_believed_by_its_node_name():
    claim = a_claim(FIRST, node="node-1")
    plan = NODES.plan(a_workspace(), a_world(claims=(claim,), nodes=(a_node(),)), need())
    assert said(plan, "NodeClaimReady") == ("True", "NodeClaimsReady")


@pytest.mark.parametrize(
    ("launched", "expected"),
    [
        pytest.param(
            ("Unknown", "LaunchFailed", "quota exceeded"),
            ("LaunchFailed", "quota exceeded"),
            id="its own words",
        ),
        pytest.param(
            ("Unknown", "AwaitingReconciliation", "object is awaiting reconciliation"),
            ("NodeClaimNotReady", "0 of 1 NodeClaims are ready"),
            id="nobody has looked yet",
        ),
        pytest.param(
            ("False", "LaunchFailed", "x" * 300), ("LaunchFailed", "x" * 253 + "..."), id="long"
        ),
        pytest.param(None, ("NodeClaimNotReady", "0 of 1 NodeClaims are ready"), id="no word"),
    ],
)
def test_what_a_claim_complains_about(launched, expected):
    plan = NODES.plan(a_workspace(), a_world(claims=(a_claim(FIRST, launched=launched),)), need())
    claims = next(c for c in plan.conditions if c.type == "NodeClaimReady")
    assert (claims.reason, claims.message) == expected
    assert plan.waits_for == expected[0]


def test_a_real_complaint_outranks_a_claim_that_nobody_has_looked_at():
    claims = (
        a_claim("wsaaaaaaaaa", ordinal=0),
        a_claim("wsbbbbbbbbb", ordinal=1, launched=("Unknown", "LaunchFailed", "quota")),
    )
    plan = NODES.plan(a_workspace(), a_world(claims=claims), need(2))
    assert said(plan, "NodeClaimReady") == ("False", "LaunchFailed")


def test_claims_of_an_earlier_controller_are_used_before_new_ones_are_paid_for():
    old = a_claim("wsdeadbeef0", ordinal=None, node="node-1", ready=True)
    plan = NODES.plan(a_workspace(), a_world(claims=(old,), nodes=(a_node(),)), need(2))
    assert created(plan) == [claim_name(UID, 1, 1)]
    assert remembered(plan) == {0: Attempt(0, made=True), 1: Attempt(1)}


def test_a_lost_claim_of_an_earlier_controller_is_replaced_by_attempt_one():
    plan = NODES.plan(remembering(_0=Attempt(0, made=True)), a_world(), need())
    assert created(plan) == [FIRST]


def test_two_claims_for_one_ordinal_count_as_two():
    claims = (a_claim(FIRST, ready=True), a_claim(SECOND))
    plan = NODES.plan(remembering(_0=Attempt(2, made=True)), a_world(claims=claims), need(2))
    assert created(plan) == []


def test_a_labelled_node_that_no_claim_brought_need_not_be_asked_for():
    standing = with_labels(a_node("standing"), {**OWNED, "apps": "llm", **TYPE})
    plan = NODES.plan(a_workspace(), a_world(nodes=(standing,)), need())
    assert created(plan) == []
    assert said(plan, "ResourceReady")[0] == "True"


def with_labels(node, labels):
    metadata = msgspec.structs.replace(node.metadata, labels=labels)
    return msgspec.structs.replace(node, metadata=metadata)


def born(node, at):
    metadata = msgspec.structs.replace(node.metadata, creation_timestamp=at)
    return msgspec.structs.replace(node, metadata=metadata)


@pytest.mark.parametrize(
    ("minutes", "needed"),
    [
        pytest.param(1, True, id="younger than the claim: it may be the claim's"),
        pytest.param(-1, False, id="older than the claim: it was there before"),
    ],
)
def test_a_node_that_a_claim_may_have_brought_does_not_cost_the_claim(minutes, needed):
    bare = a_claim(FIRST)
    asked = msgspec.structs.replace(bare.metadata, creation_timestamp=NOW)
    claim = bare.model_copy(update={"metadata": asked})
    labelled = with_labels(a_node("new"), {**OWNED, "apps": "llm", **TYPE})
    node = born(labelled, NOW + timedelta(minutes=minutes))
    plan = NODES.plan(remembering(_0=Attempt(1)), a_world(claims=(claim,), nodes=(node,)), need())
    assert (plan.delete == ()) is needed
    assert created(plan) == []


@pytest.mark.parametrize(
    "node",
    [
        pytest.param(a_node("left"), id="brought by a claim that is gone"),
        pytest.param(
            with_labels(
                a_node("new", taints=[Taint(key="karpenter.sh/unregistered", effect="NoExecute")]),
                {**OWNED, "apps": "llm", **TYPE},
            ),
            id="on its way in",
        ),
    ],
)
def test_a_node_that_came_by_a_claim_does_not_stand_in_for_one(node):
    assert created(NODES.plan(a_workspace(), a_world(nodes=(node,)), need())) == [FIRST]


def test_a_surplus_claim_goes_when_the_workload_has_left_its_node():
    claims = (
        a_claim(FIRST, ordinal=0, node="node-1", ready=True),
        a_claim("wsb00000000", ordinal=1, node="node-2", ready=True),
    )
    workspace = remembering(_0=Attempt(1, made=True), _1=Attempt(1, made=True))
    seen = {
        "claims": claims,
        "nodes": (a_node("node-1"), a_node("node-2")),
        "pods": (a_pod(node="node-2"),),
    }
    shrinking = a_world(**seen, stateful_set=a_stateful_set(replicas=2, ready=2))
    settled = a_world(**seen, stateful_set=a_stateful_set(replicas=1, ready=1))
    assert NODES.plan(workspace, shrinking, need(1)).delete == ()
    gone = NODES.plan(workspace, settled, need(1)).delete
    assert [deletion.name for deletion in gone] == [FIRST]


def test_a_sick_surplus_claim_does_not_block():
    claims = (
        a_claim(FIRST, node="node-1", ready=True),
        a_claim("wsb00000000", ordinal=1, launched=("Unknown", "LaunchFailed", "quota")),
    )
    plan = NODES.plan(a_workspace(), a_world(claims=claims, nodes=(a_node(),)), need(1))
    assert said(plan, "ResourceReady")[0] == "True"
    assert [deletion.name for deletion in plan.delete] == ["wsb00000000"]


def test_an_unknown_type_cannot_be_estimated():
    with pytest.raises(UserError) as refused:
        NODES.shape(a_workspace(instance_type="Standard_NX1"), a_world())
    assert refused.value.condition == "ResourceReady"
    assert "Standard_NX1" in refused.value.message


def test_an_unknown_type_will_do_for_a_pod_of_ones_own():
    workspace = a_workspace(
        instance_type="Standard_NX1", inference={"preset": None, "template": {"spec": {}}}
    )
    assert NODES.shape(workspace, a_world()) == NodeShape("Standard_NX1", GPU(0))


class _Cluster:
    """A Workspace and its claims, as the rounds of the controller and the world change them."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self.annotations: dict[str, str] = {}
        self.claims: dict[str, object] = {}
        self.shown: dict[str, object] = {}
        self.now = NOW

    def look(self) -> None:
        self.shown = dict(self.claims)

    def round(self, writes: int) -> None:
        """A round that dies after so many writes; its cache shows what it last looked at."""
        seen = a_world(now=self.now, claims=tuple(self.shown.values()))
        plan = NODES.plan(a_workspace(annotations=self.annotations), seen, need(self.nodes))
        if plan.annotations:
            if writes == 0:
                return
            writes -= 1
            self.annotations.update(plan.annotations)
        for manifest in plan.create[:writes]:
            name = manifest["metadata"]["name"]
            ordinal = int(manifest["metadata"]["annotations"]["kaito.sh/node-claim-ordinal"])
            self.claims.setdefault(name, a_claim(name, ordinal=ordinal))

    def lose(self, at: int, deleting: bool) -> None:
        """The claim is deleted; its object may stay for a while."""
        if not self.claims:
            return
        name = sorted(self.claims)[at % len(self.claims)]
        claim = self.claims.pop(name)
        if deleting and not claim.deleting:
            ordinal = int(claim.metadata.annotations["kaito.sh/node-claim-ordinal"])
            self.claims[name] = a_claim(name, ordinal=ordinal, deleting=True)

    def live(self) -> list[str]:
        return sorted(
            claim.metadata.annotations["kaito.sh/node-claim-ordinal"]
            for claim in self.claims.values()
            if not claim.deleting
        )


_EVENTS = st.one_of(
    st.tuples(st.just("round"), st.integers(0, 5)),
    st.tuples(st.just("look"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 400)),
    st.tuples(st.just("delete"), st.integers(0, 5)),
    st.tuples(st.just("drain"), st.integers(0, 5)),
)


@given(st.integers(1, 3), st.lists(_EVENTS, max_size=40))
def test_never_two_live_claims_for_one_ordinal_and_always_enough_in_the_end(nodes, events):
    """Whatever dies in between, whatever is deleted, and however late the cache is."""
    cluster = _Cluster(nodes)
    for kind, number in events:
        if kind == "round":
            cluster.round(number)
        elif kind == "look":
            cluster.look()
        elif kind == "wait":
            cluster.now += timedelta(seconds=number)
        else:
            cluster.lose(number, deleting=kind == "drain")
        assert len(set(cluster.live())) == len(cluster.live())
    for _ in range(4):
        cluster.look()
        cluster.now += timedelta(seconds=300)
        cluster.round(writes=9)
    assert cluster.live() == [str(ordinal) for ordinal in range(nodes)]


class TestPreferredNodes:
    """In an installation that buys nodes, one that the user names is taken instead."""

    workspace = a_workspace(
        resource={
            "instanceType": "local-gpu-1",
            "labelSelector": {"matchLabels": {"apps": "llm"}},
            "preferredNodes": ["own-1"],
        }
    )

    @staticmethod
    def own(labels=None, **given):
        node = a_node("own-1", **given)
        kept = {**TYPE, **(labels or {})}
        meta = msgspec.structs.replace(node.metadata, labels=kept)
        return msgspec.structs.replace(node, metadata=meta)

    def test_it_stands_and_nothing_is_bought(self):
        plan = NODES.plan(self.workspace, a_world(nodes=(self.own(),)), need())
        assert created(plan) == []
        assert said(plan, "ResourceReady") == ("True", "workspaceResourceStatusSuccess")
        assert plan.worker_nodes == ("own-1",)

    def test_one_that_a_claim_has_brought_is_not_counted_twice(self):
        claim = a_claim(FIRST, node="own-1", ready=True)
        plan = NODES.plan(self.workspace, a_world(claims=(claim,), nodes=(self.own(),)), need(2))
        assert created(plan) == [claim_name(UID, 1, 1)]

    def test_only_the_rest_is_bought(self):
        plan = NODES.plan(self.workspace, a_world(nodes=(self.own(),)), need(2))
        assert created(plan) == [FIRST]

    @pytest.mark.parametrize(
        ("nodes", "taken"),
        [
            pytest.param((), False, id="absent"),
            pytest.param((own(ready=False),), False, id="not ready"),
            pytest.param(
                (own(instance_type="x", labels={**TYPE, TYPE_KEY: "x"}),), False, id="type"
            ),
            pytest.param((own(gpus=0),), False, id="no GPU"),
            pytest.param((own(taints=[Taint(key="x", effect="NoSchedule")]),), False, id="taint"),
            pytest.param((own({**OWNED, "kaito.sh/workspace": "other"}),), False, id="another's"),
            pytest.param((own(),), True, id="used by another"),
        ],
    )
    def test_one_that_cannot_be_used_is_not_relied_on(self, nodes, taken):
        seen = a_world(nodes=nodes, taken=frozenset({"own-1"} if taken else ()))
        assert created(NODES.plan(self.workspace, seen, need())) == [FIRST]

    def test_its_claim_is_not_bought_and_pods_reach_it(self):
        affinity = node_affinity(NODES.reach(self.workspace))
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert terms[1:] == [named("own-1", TYPE)]
        assert "preferredDuringSchedulingIgnoredDuringExecution" not in affinity

    def test_a_claim_that_became_needless_goes_when_nothing_runs_on_its_node(self):
        claim = a_claim(FIRST, node="node-1", ready=True)
        seen = a_world(
            claims=(claim,),
            nodes=(self.own(), a_node("node-1")),
            stateful_set=a_stateful_set(ready=1),
        )
        idle = msgspec.structs.replace
        there = a_pod(node="own-1")
        gone = NODES.plan(self.workspace, dataclasses.replace(seen, pods=(there,)), need())
        assert [each.name for each in gone.delete] == [FIRST]
        busy = idle(there, spec=idle(there.spec, node_name="node-1"))
        kept = NODES.plan(self.workspace, dataclasses.replace(seen, pods=(busy,)), need())
        assert kept.delete == ()
