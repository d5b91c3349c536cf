"""Nodes by NodePool: how many, made from what, and what is said of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from apis.gpu import GPU
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.apply import needs_apply
from kube.meta import ObjectMeta
from kube.objects import Node, Unstructured
from tests.builders import (
    NODE_CLASSES,
    OWNED,
    a_claim,
    a_node,
    a_pod,
    a_stateful_set,
    a_workspace,
    a_world,
    settings,
)
from workspace_controller.errors import UserError
from workspace_controller.manifests.nodepool import POOLS, node_class, pool_name
from workspace_controller.manifests.scheduling import node_affinity
from workspace_controller.nodes.provisioner import Need, NodeShape

NODES = settings(node_classes=NODE_CLASSES).nodes
SHAPE = NodeShape("local-gpu-1", GPU(1, "NVIDIA-A10", 24.0), 4, 12.0)
MINE = {
    "karpenter.kaito.sh/workspace-name": "falcon",
    "karpenter.kaito.sh/workspace-namespace": "default",
}
READY = {"type": "Ready", "status": "True", "reason": "Ready"}
POOL_UID = "pool-uid"


def need(nodes: int = 1, disk: int = 82) -> Need:
    return Need(SHAPE, nodes, disk)


def a_class(name: str = "ubuntu", *conditions: dict[str, str]) -> Unstructured:
    return Unstructured(
        metadata=ObjectMeta(name=name), status={"conditions": list(conditions or (READY,))}
    )


def classes(*given: Unstructured) -> dict[str, Unstructured]:
    return {each.metadata.name: each for each in given or (a_class(), a_class("large"))}


def a_world_with(pool: Unstructured | None = None, **seen: Any):
    return a_world(**{"pool": pool, "node_classes": classes(), **seen})


def applied(plan) -> dict[str, Any]:
    (pool,) = plan.apply
    return pool


def live(manifest: dict[str, Any], *, deleting: bool = False, **status: Any) -> Unstructured:
    """What the API server makes of an applied pool."""
    meta = ObjectMeta(
        name=manifest["metadata"]["name"],
        uid=POOL_UID,
        labels=manifest["metadata"]["labels"],
        annotations=manifest["metadata"].get("annotations", {}),
    )
    if deleting:
        meta = msgspec.structs.replace(meta, deletion_timestamp=a_world().now)
    return Unstructured(metadata=meta, spec=manifest["spec"], status=status)


def a_pool(nodes: int = 1, workspace=None, **given: Any) -> Unstructured:
    """The pool as it stands once it was made for so many nodes."""
    plan = NODES.plan(workspace or a_workspace(), a_world_with(), need(nodes))
    return live(applied(plan), **given)


def pooled(name: str, *, owner: str = POOL_UID, **given: Any) -> NodeClaim:
    """A claim that the pool has made."""
    claim = a_claim(name, ordinal=None, **given)
    manifest = claim.manifest()
    manifest["metadata"]["labels"] = {**MINE, "apps": "llm"}
    manifest["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "name": "default-falcon",
            "uid": owner,
        }
    ]
    return NodeClaim.model_validate(manifest)


def standing(name: str, labels: dict[str, str] | None = None, **given: Any) -> Node:
    """A node that nobody has bought."""
    node = a_node(name, **given)
    kept = {"node.kubernetes.io/instance-type": "local-gpu-1", **(labels or {})}
    meta = msgspec.structs.replace(node.metadata, labels=kept)
    return msgspec.structs.replace(node, metadata=meta)


def capacity(pool: dict[str, Any]) -> list[list[str]]:
    """The values of each requirement for a capacity type."""
    asked = pool["spec"]["template"]["spec"]["requirements"]
    return [each["values"] for each in asked if each["key"] == "karpenter.sh/capacity-type"]


def test_spot_is_bought_for_who_asks_for_it_by_label():
    owner = a_workspace(labels={"apps": "llm", "karpenter.sh/capacity-type": "spot"})
    pool = applied(NODES.plan(owner, a_world_with(), need(1)))
    assert capacity(pool) == [["spot"]]
    labels = pool["spec"]["template"]["metadata"]["labels"]
    assert "karpenter.sh/capacity-type" not in labels, "the API server refuses the domain there"
    assert labels["apps"] == "llm"


@pytest.mark.parametrize("asked", ["spot", ""])
def test_a_pool_of_an_earlier_version_keeps_its_template(asked: str):
    """Which had the user's capacity type as a label, and no requirement: any change of a template
    replaces all nodes."""
    said = {"karpenter.sh/capacity-type": asked} if asked else {}
    owner = a_workspace(labels={"apps": "llm", **said})
    old = applied(NODES.plan(owner, a_world_with(), need(1)))
    template = old["spec"]["template"]
    template["metadata"]["labels"] |= said
    spec = template["spec"]
    spec["requirements"] = [
        each for each in spec["requirements"] if each["key"] != "karpenter.sh/capacity-type"
    ]
    plan = NODES.plan(owner, a_world_with(live(old)), need(2))
    assert applied(plan)["spec"]["template"] == template


def test_a_pool_of_earlier_versions_stays_without_a_capacity_type():
    """Its nodes may be on spot, and would all be replaced."""
    pool = applied(NODES.plan(a_workspace(), a_world_with(), need(1)))
    spec = pool["spec"]["template"]["spec"]
    spec["requirements"] = [each for each in spec["requirements"] if "capacity" not in each["key"]]
    plan = NODES.plan(a_workspace(), a_world_with(pool=live(pool)), need(2))
    assert replicas(plan) == 2
    assert capacity(applied(plan)) == []


def said(plan, kind: str) -> tuple[str, str]:
    return next((c.status, c.reason) for c in plan.conditions if c.type == kind)


def message(plan, kind: str = "NodeClaimReady") -> str:
    return next(c.message for c in plan.conditions if c.type == kind)


def replicas(plan) -> int:
    return applied(plan)["spec"]["replicas"]


def test_a_pool_in_kaitos_shape_but_never_on_spot():
    plan = NODES.plan(a_workspace(), a_world_with(), need(2))
    pool = applied(plan)
    pool["metadata"].pop("annotations")
    assert pool == {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {
            "name": "default-falcon",
            "labels": {"karpenter.kaito.sh/managed-by": "kaito", **MINE},
        },
        "spec": {
            "replicas": 2,
            "template": {
                "metadata": {"labels": {"apps": "llm", **MINE}},
                "spec": {
                    "nodeClassRef": {
                        "group": "karpenter.azure.com",
                        "kind": "AKSNodeClass",
                        "name": "ubuntu",
                    },
                    "requirements": [
                        {
                            "key": "node.kubernetes.io/instance-type",
                            "operator": "In",
                            "values": ["local-gpu-1"],
                        },
                        {
                            "key": "karpenter.azure.com/placement-scope",
                            "operator": "In",
                            "values": ["regional"],
                        },
                        {
                            "key": "karpenter.sh/capacity-type",
                            "operator": "In",
                            "values": ["on-demand", "reserved"],
                        },
                    ],
                    "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
                    "expireAfter": "Never",
                },
            },
            "disruption": {
                "consolidateAfter": "0s",
                "budgets": [{"nodes": "1", "reasons": ["Drifted"]}],
            },
        },
    }
    assert plan.waits_for == "NodeClaimNotReady"


def test_a_workspace_of_an_inference_set_says_so_and_opens_no_budget():
    workspace = a_workspace()
    meta = msgspec.structs.replace(
        workspace.metadata, labels={"inferenceset.kaito.sh/created-by": "fleet"}
    )
    workspace = workspace.model_copy(update={"metadata": meta})
    pool = applied(NODES.plan(workspace, a_world_with(), need()))
    mine = {
        "karpenter.kaito.sh/inferenceset": "fleet",
        "karpenter.kaito.sh/inferenceset-namespace": "default",
    }
    assert mine.items() <= pool["metadata"]["labels"].items()
    assert mine.items() <= pool["spec"]["template"]["metadata"]["labels"].items()
    assert pool["spec"]["disruption"]["budgets"] == [{"nodes": "0", "reasons": ["Drifted"]}]
    opened = {**pool["spec"]["disruption"], "budgets": [{"nodes": "1", "reasons": ["Drifted"]}]}
    there = live({**pool, "spec": {**pool["spec"], "disruption": opened}})
    assert NODES.plan(workspace, a_world_with(there), need(2)).apply[0]["spec"]["disruption"][
        "budgets"
    ] == [{"nodes": "1", "reasons": ["Drifted"]}]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("falcon", "default-falcon", id="short"),
        pytest.param("w" * 55, "default-" + "w" * 55, id="63 characters"),
        pytest.param("w" * 56, "default-" + "w" * 45 + "-7987475ef", id="cut"),
    ],
)
def test_the_name_fits_a_label(name, expected):
    assert pool_name(a_workspace(name=name)) == expected
    assert len(expected) <= 63


def test_what_is_as_it_should_be_is_left_alone():
    plan = NODES.plan(a_workspace(), a_world_with(a_pool()), need())
    assert plan.apply == ()


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param({"replicas": 5}, id="scaled by hand"),
        pytest.param({"disruption": {"consolidateAfter": "Never"}}, id="budget gone"),
    ],
)
def test_what_somebody_has_changed_is_put_right(edited):
    pool = a_pool()
    pool = msgspec.structs.replace(pool, spec={**pool.spec, **edited})
    plan = NODES.plan(a_workspace(), a_world_with(pool, stateful_set=None), need())
    assert replicas(plan) == 1
    assert applied(plan)["spec"]["disruption"]["budgets"] == [
        {"nodes": "1", "reasons": ["Drifted"]}
    ]


def test_a_pool_that_is_there_keeps_its_own_expiry():
    """A change of the template would replace all its nodes."""
    pool = a_pool()
    template = {**pool.spec["template"]["spec"], "expireAfter": "720h"}
    spec = {**pool.spec, "template": {**pool.spec["template"], "spec": template}}
    plan = NODES.plan(
        a_workspace(), a_world_with(msgspec.structs.replace(pool, spec=spec)), need(2)
    )
    assert applied(plan)["spec"]["template"]["spec"]["expireAfter"] == "720h"


def test_limits_that_somebody_sets_stay():
    pool = a_pool()
    pool = msgspec.structs.replace(pool, spec={**pool.spec, "limits": {"nodes": "3"}})
    assert NODES.plan(a_workspace(), a_world_with(pool), need()).apply == ()


def test_more_nodes_are_wanted_at_once():
    assert replicas(NODES.plan(a_workspace(), a_world_with(a_pool(1)), need(3))) == 3


class TestShrinking:
    claims = tuple(pooled(name, node=name, ready=True) for name in ("a", "b", "c"))
    nodes = tuple(a_node(name, labels={"karpenter.sh/nodepool": "x"}) for name in ("a", "b", "c"))

    def plan(self, **seen: Any):
        world = a_world_with(a_pool(3), **{"claims": self.claims, "nodes": self.nodes, **seen})
        return NODES.plan(a_workspace(), world, need(1))

    def test_while_the_workload_is_larger_nothing_goes(self):
        assert self.plan(stateful_set=a_stateful_set(replicas=3, ready=3)).apply == ()

    def test_while_it_is_not_ready_on_what_is_left_nothing_goes(self):
        assert self.plan(stateful_set=a_stateful_set(replicas=1, ready=0)).apply == ()

    def test_only_what_it_has_left_goes(self):
        pods = (a_pod("falcon-0", node="a"), a_pod("falcon-2", node="c"))
        shrunk = a_stateful_set(replicas=1, ready=1)
        assert replicas(self.plan(stateful_set=shrunk, pods=pods)) == 2

    def test_then_all_that_is_too_much(self):
        pods = (a_pod("falcon-0", node="a"),)
        shrunk = a_stateful_set(replicas=1, ready=1)
        assert replicas(self.plan(stateful_set=shrunk, pods=pods)) == 1

    def test_without_a_workload_too(self):
        assert replicas(self.plan(stateful_set=None)) == 1


class TestCovered:
    def test_a_node_with_the_users_labels_is_not_bought_again(self):
        node = standing("own-1", {"apps": "llm"})
        plan = NODES.plan(a_workspace(), a_world_with(nodes=(node,)), need(1))
        assert plan.apply == ()
        assert plan.waits_for is None
        assert plan.worker_nodes == ("own-1",)

    def test_the_rest_is(self):
        node = standing("own-1", {"apps": "llm"})
        assert replicas(NODES.plan(a_workspace(), a_world_with(nodes=(node,)), need(3))) == 2

    @pytest.mark.parametrize(
        ("node", "taken"),
        [
            pytest.param(standing("n", {"apps": "other"}), False, id="other labels"),
            pytest.param(standing("n", {"apps": "llm"}, ready=False), False, id="not ready"),
            pytest.param(standing("n", {"apps": "llm"}, gpus=0), False, id="no GPU"),
            pytest.param(standing("n", {"apps": "llm", **OWNED}), False, id="of claims, not up"),
            pytest.param(
                standing("n", {"apps": "llm", "karpenter.sh/nodepool": "web"}), False, id="a pool's"
            ),
            pytest.param(standing("n", {"apps": "llm"}), True, id="used by another"),
        ],
    )
    def test_what_cannot_be_used_is_bought(self, node, taken):
        if OWNED.items() <= node.metadata.labels.items():
            meta = msgspec.structs.replace(node.metadata, deletion_timestamp=a_world().now)
            node = msgspec.structs.replace(node, metadata=meta)
        world = a_world_with(nodes=(node,), taken=frozenset({"n"} if taken else ()))
        assert replicas(NODES.plan(a_workspace(), world, need())) == 1

    def test_a_claim_from_before_the_pool_counts(self):
        claim = a_claim("ws1", node="node-1", ready=True)
        world = a_world_with(claims=(claim,), nodes=(a_node("node-1"),))
        plan = NODES.plan(a_workspace(), world, need())
        assert plan.apply == ()
        assert said(plan, "ResourceReady") == ("True", "workspaceResourceStatusSuccess")

    def test_a_claim_whose_pool_is_gone_does_not(self):
        world = a_world_with(claims=(pooled("old", owner="gone", node="n", ready=True),))
        assert replicas(NODES.plan(a_workspace(), world, need())) == 1

    def test_whatever_counts_is_within_reach_of_the_pods(self):
        resource = {
            "instanceType": "local-gpu-1",
            "labelSelector": {"matchLabels": {"apps": "llm"}},
            "preferredNodes": ["own-2"],
        }
        affinity = node_affinity(NODES.reach(a_workspace(resource=resource)))
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        pool_node = {"apps": "llm", **MINE}
        claim_node = {"apps": "llm", **OWNED}
        of_type = {"node.kubernetes.io/instance-type": "local-gpu-1"}
        assert _reached(terms, "any", pool_node)
        assert _reached(terms, "any", claim_node)
        assert _reached(terms, "own-1", {"apps": "llm", **of_type})
        assert _reached(terms, "own-2", of_type)
        assert not _reached(terms, "own-2", {})
        assert not _reached(terms, "own-3", of_type)
        foreign = {**MINE, "karpenter.kaito.sh/workspace-name": "other"}
        assert not _reached(terms, "theirs", {"apps": "llm", **of_type, **foreign})


def _reached(terms: list[dict[str, Any]], name: str, labels: dict[str, str]) -> bool:
    """What the scheduler answers."""
    return any(
        all(name in each["values"] for each in term.get("matchFields", []))
        and all(_holds(each, labels) for each in term.get("matchExpressions", []))
        for term in terms
    )


def _holds(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    if expression["operator"] == "DoesNotExist":
        return expression["key"] not in labels
    return labels.get(expression["key"]) in expression["values"]


class TestSaid:
    def test_ready(self):
        world = a_world_with(
            a_pool(), claims=(pooled("a", node="node-1", ready=True),), nodes=(a_node("node-1"),)
        )
        plan = NODES.plan(a_workspace(), world, need())
        assert {c.type: c.status for c in plan.conditions} == {
            "NodeClaimReady": "True",
            "NodesReady": "True",
            "ResourceReady": "True",
        }
        assert plan.worker_nodes == ("node-1",)

    def test_a_claims_own_words_come_first(self):
        refused = ("Unknown", "InsufficientCapacity", "no A10 in zone a")
        world = a_world_with(a_pool(), claims=(pooled("a", launched=refused),))
        plan = NODES.plan(a_workspace(), world, need())
        assert said(plan, "ResourceReady") == ("False", "InsufficientCapacity")
        assert message(plan) == "no A10 in zone a"

    def test_then_the_pools(self):
        backing_off = {
            "type": "ReplicasProvisioned",
            "status": "False",
            "reason": "BackingOff",
            "message": "0 of 1 nodes: claims were given up (2 times in a row)",
        }
        world = a_world_with(a_pool(conditions=[READY, backing_off]))
        plan = NODES.plan(a_workspace(), world, need())
        assert said(plan, "NodeClaimReady") == ("False", "BackingOff")
        assert "2 times in a row" in message(plan)

    def test_a_pool_that_is_going_is_waited_for(self):
        pool = a_pool(deleting=True)
        plan = NODES.plan(a_workspace(), a_world_with(pool), need(2))
        assert plan.apply == ()
        assert said(plan, "NodeClaimReady") == ("False", "NodePoolDeleting")

    def test_a_pool_deleted_by_hand_comes_back(self):
        plan = NODES.plan(a_workspace(), a_world_with(stateful_set=a_stateful_set(ready=1)), need())
        assert replicas(plan) == 1

    def test_somebody_elses_pool_of_that_name_is_left_alone(self):
        pool = a_pool()
        labels = {"karpenter.kaito.sh/workspace-name": "other"}
        meta = msgspec.structs.replace(pool.metadata, labels=labels)
        with pytest.raises(UserError, match="default-falcon exists and is not this Workspace's"):
            NODES.plan(
                a_workspace(),
                a_world_with(msgspec.structs.replace(pool, metadata=meta)),
                need(),
            )

    def test_no_target_is_no_reason_to_be_content(self):
        with pytest.raises(ValueError, match="no target"):
            need(0)


class TestNodeClass:
    @pytest.mark.parametrize(
        ("seen", "words"),
        [
            pytest.param(None, "does not know AKSNodeClass", id="no such kind"),
            pytest.param({}, "ubuntu does not exist yet", id="absent"),
            pytest.param(
                classes(a_class("ubuntu", {"type": "ImagesReady", "status": "True"})),
                "not been looked at yet",
                id="nobody has looked",
            ),
            pytest.param(
                classes(
                    a_class(
                        "ubuntu",
                        {
                            "type": "Ready",
                            "status": "False",
                            "reason": "SubnetNotFound",
                            "message": "subnet vnet-1/gpu does not exist",
                        },
                    )
                ),
                "is not ready: subnet vnet-1/gpu does not exist",
                id="not ready",
            ),
        ],
    )
    def test_from_one_that_is_not_ready_nothing_is_made(self, seen, words):
        plan = NODES.plan(a_workspace(), a_world_with(node_classes=seen), need())
        assert plan.apply == ()
        assert said(plan, "NodeClaimReady") == ("False", "NodeClassNotReady")
        assert words in message(plan)

    def test_a_pool_that_is_there_is_kept_right_all_the_same(self):
        pool = a_pool(1)
        plan = NODES.plan(a_workspace(), a_world_with(pool, node_classes={}), need(2))
        assert replicas(plan) == 2

    @pytest.mark.parametrize(
        ("annotation", "disk", "chosen"),
        [
            pytest.param("", 82, "ubuntu", id="the default"),
            pytest.param("large", 82, "large", id="the one that is named"),
            pytest.param("", 200, "large", id="one whose disk is large enough"),
        ],
    )
    def test_which_one(self, annotation, disk, chosen):
        named = {"kaito.sh/node-class-name": annotation} if annotation else {}
        workspace = a_workspace(annotations=named)
        plan = NODES.plan(workspace, a_world_with(), need(disk=disk))
        assert applied(plan)["spec"]["template"]["spec"]["nodeClassRef"]["name"] == chosen

    def test_the_one_in_use_stays_when_the_need_grows(self):
        plan = NODES.plan(a_workspace(), a_world_with(a_pool()), need(2, disk=200))
        assert applied(plan)["spec"]["template"]["spec"]["nodeClassRef"]["name"] == "ubuntu"

    @pytest.mark.parametrize(
        ("annotations", "words"),
        [
            ({}, "no node class gives more than 300 GiB"),
            ({"kaito.sh/node-class-name": "ubuntu"}, "it gives 100 GiB"),
        ],
    )
    def test_no_disk_is_large_enough(self, annotations, words):
        with pytest.raises(UserError, match=words) as refused:
            NODES.plan(a_workspace(annotations=annotations), a_world_with(), need(disk=500))
        assert refused.value.reason == "NodeClassDiskTooSmall"

    def test_unless_nobody_wants_to_know(self):
        bypass = {"kaito.sh/bypass-resource-checks": "true"}
        plan = NODES.plan(a_workspace(annotations=bypass), a_world_with(), need(disk=500))
        assert applied(plan)["spec"]["template"]["spec"]["nodeClassRef"]["name"] == "ubuntu"

    def test_one_that_there_is_not(self):
        workspace = a_workspace(annotations={"kaito.sh/node-class-name": "ubunut"})
        with pytest.raises(UserError, match='did you mean "ubuntu"'):
            NODES.plan(workspace, a_world_with(), need())

    def test_its_object(self):
        default, large = (node_class(NODE_CLASSES, each) for each in NODE_CLASSES.classes)
        assert default == {
            "apiVersion": "karpenter.azure.com/v1beta1",
            "kind": "AKSNodeClass",
            "metadata": {
                "name": "ubuntu",
                "labels": {
                    "karpenter.kaito.sh/managed-by": "kaito",
                    "karpenter.kaito.sh/default": "true",
                },
            },
            "spec": {"imageFamily": "Ubuntu2204", "osDiskSizeGB": 100},
        }
        assert large["metadata"]["labels"] == {"karpenter.kaito.sh/managed-by": "kaito"}


def test_what_must_be_gone_before_the_workspace_is():
    of_pool = ",".join(f"{key}={value}" for key, value in MINE.items())
    of_claims = ",".join(f"{key}={value}" for key, value in OWNED.items())
    held = [(each.resource, each.labels) for each in NODES.holdings(a_workspace())]
    assert held == [(POOLS, of_pool), (NODE_CLAIMS, of_pool), (NODE_CLAIMS, of_claims)]


def test_an_applied_pool_needs_no_second_apply():
    pool = applied(NODES.plan(a_workspace(), a_world_with(), need()))
    assert not needs_apply(pool, pool)
