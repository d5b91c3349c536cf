"""Nodes of one's own, and when a node counts as ready."""

from __future__ import annotations

import msgspec
import pytest

import cloudproviders
from apis.gpu import GPU
from apis.kaito.v1beta1.workspace import Workspace
from kube.objects import Taint
from tests.builders import (
    NODE_CLASSES,
    a_gpu_node,
    a_node,
    a_pod,
    a_workspace,
    a_workspace_manifest,
    a_world,
    settings,
)
from workspace_controller.errors import UserError
from workspace_controller.manifests.scheduling import Reach, labelled, named, node_affinity
from workspace_controller.nodes import readiness
from workspace_controller.nodes.byo import BringYourOwn, selected
from workspace_controller.nodes.provisioner import Need, NodeShape, user_labels
from workspace_controller.workspace.plan import make_plan

ONE_A10 = NodeShape("local-gpu-1", GPU(1, "NVIDIA-A10", 24.0), 4, 12.0)


@pytest.mark.parametrize(
    ("nodes", "wanted", "reason"),
    [
        pytest.param([], 1, "NodeNotReady", id="none"),
        pytest.param([a_node(ready=False)], 1, "NodeNotReady", id="not ready"),
        pytest.param([a_node(deleting=True)], 1, "NodeNotReady", id="going"),
        pytest.param([a_node(instance_type="other")], 1, "NodeNotReady", id="another type"),
        pytest.param([a_node(gpus=0)], 1, "NodePluginsNotReady", id="no plugin yet"),
        pytest.param([a_node()], 2, "NodeNotReady", id="too few"),
        pytest.param([a_node()], 1, "NodesReady", id="ready"),
        pytest.param([a_node(instance_type="LOCAL-GPU-1")], 1, "NodesReady", id="case"),
        pytest.param([a_node("a"), a_node("b", gpus=0)], 1, "NodesReady", id="a sick one more"),
        pytest.param([a_node(pressure="DiskPressure")], 1, "NodesReady", id="under pressure"),
    ],
)
def test_nodes_ready(nodes, wanted, reason):
    condition = readiness.nodes_ready(nodes, ONE_A10, wanted)
    assert condition.reason == reason
    assert condition.status == ("True" if reason == "NodesReady" else "False")


def test_a_cpu_node_needs_no_plugin():
    shape = NodeShape("local-cpu-2", GPU(0))
    nodes = [a_node(instance_type="local-cpu-2", gpus=0)]
    assert readiness.nodes_ready(nodes, shape, 1).status == "True"


def test_pressure_is_told_beside_the_verdict():
    nodes = [a_node("b", pressure="DiskPressure"), a_node("a", pressure="MemoryPressure")]
    assert readiness.nodes_ready(nodes, ONE_A10, 1).message == (
        "Enough Nodes are ready; warning: worker node(s) under resource pressure: "
        "a (MemoryPressure), b (DiskPressure)"
    )


def test_missing_gpus_are_counted_by_node():
    message = readiness.nodes_ready([a_node(gpus=0)], ONE_A10, 1).message
    assert message == "nvidia.com/gpu is not allocatable yet: node-1 has 0 of 1"


def test_reserved_keys_select_nothing():
    workspace = a_workspace(labels={"apps": "llm", "kaito.sh/workspace": "theirs"})
    assert user_labels(workspace) == {"apps": "llm"}


def test_an_expression_with_one_value_is_a_label():
    selector = {
        "matchLabels": {"apps": "llm"},
        "matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["a"]},
            {"key": "kaito.sh/workspace", "operator": "In", "values": ["theirs"]},
        ],
    }
    workspace = a_workspace(resource={"labelSelector": selector})
    assert user_labels(workspace) == {"apps": "llm", "zone": "a"}


def test_a_workspace_without_resource_selects_by_nothing():
    assert user_labels(Workspace.model_validate(a_workspace_manifest(resource=None))) == {}


class TestBringYourOwn:
    nodes = BringYourOwn()

    def test_the_shape_is_told_by_the_labels_of_a_ready_node(self):
        seen = a_world(nodes=(a_gpu_node(gpus=2),))
        shape = self.nodes.shape(a_workspace(instance_type=""), seen)
        assert shape == NodeShape("", GPU(2, "NVIDIA-A10", 24.0), 4, 12.0)

    def test_compute_capability_where_it_is_labelled(self):
        node = a_gpu_node()
        more = {"nvidia.com/cuda.compute.major": "8", "nvidia.com/cuda.compute.minor": "6"}
        labels = {**node.metadata.labels, **more}
        node = msgspec.structs.replace(
            node, metadata=msgspec.structs.replace(node.metadata, labels=labels)
        )
        shape = self.nodes.shape(a_workspace(), a_world(nodes=(node,)))
        assert shape is not None
        assert shape.gpu.compute_capability == "8.6"

    def test_a_node_without_gpu_labels_is_a_cpu_node(self):
        shape = self.nodes.shape(a_workspace(), a_world(nodes=(a_node(gpus=0),)))
        assert shape == NodeShape("", GPU(0), 4, 12.0)

    @pytest.mark.parametrize(
        "nodes",
        [
            pytest.param((), id="none"),
            pytest.param((a_node(ready=False),), id="not ready"),
            pytest.param((a_node(labels={"apps": "other"}),), id="other labels"),
        ],
    )
    def test_without_a_ready_node_nobody_knows_the_shape(self, nodes):
        workspace, seen = a_workspace(), a_world(nodes=nodes)
        assert self.nodes.shape(workspace, seen) is None
        plan = self.nodes.waiting(workspace, seen)
        assert plan.waits_for == "NodeNotReady"
        assert {c.type: (c.status, c.reason) for c in plan.conditions} == {
            "NodesReady": ("False", "NodeNotReady"),
            "ResourceReady": ("False", "workspaceResourceStatusNotReady"),
        }

    def test_ready_nodes_are_enough_and_nothing_is_made(self):
        workspace, seen = a_workspace(), a_world(nodes=(a_gpu_node("b"), a_gpu_node("a")))
        shape = self.nodes.shape(workspace, seen)
        assert shape is not None
        plan = self.nodes.plan(workspace, seen, Need(shape, 2, 82))
        assert plan.waits_for is None
        assert plan.worker_nodes == ("a", "b")
        assert (plan.create, plan.delete, plan.annotations) == ((), (), {})
        assert {c.type: c.status for c in plan.conditions} == {
            "NodesReady": "True",
            "ResourceReady": "True",
        }

    def test_too_few(self):
        workspace, seen = a_workspace(), a_world(nodes=(a_gpu_node(),))
        plan = self.nodes.plan(workspace, seen, Need(ONE_A10, 2, 82))
        assert plan.waits_for == "NodeNotReady"

    def test_pods_find_the_nodes_by_the_users_labels_alone(self):
        assert self.nodes.reach(a_workspace()) == Reach((labelled({"apps": "llm"}),))

    def test_some_of_the_gpus(self):
        resource = {
            "labelSelector": {"matchLabels": {"apps": "llm"}},
            "partition": {"mode": "accelerator", "count": 1},
        }
        workspace = Workspace.model_validate(a_workspace_manifest(resource=resource))
        shape = self.nodes.shape(workspace, a_world(nodes=(a_gpu_node(gpus=2),)))
        assert shape is not None
        assert (shape.gpu.count, shape.gpu_resource) == (1, "nvidia.com/gpu")

    def test_more_gpus_than_there_are(self):
        resource = {
            "labelSelector": {"matchLabels": {"apps": "llm"}},
            "partition": {"mode": "accelerator", "count": 3},
        }
        workspace = Workspace.model_validate(a_workspace_manifest(resource=resource))
        with pytest.raises(UserError, match="3 GPUs are more than the 2"):
            self.nodes.shape(workspace, a_world(nodes=(a_gpu_node(gpus=2),)))

    def test_a_slice_of_a_gpu(self):
        resource = {
            "labelSelector": {"matchLabels": {"apps": "llm"}},
            "partition": {"mode": "mig", "profile": "1g.12gb"},
        }
        workspace = Workspace.model_validate(a_workspace_manifest(resource=resource))
        shape = self.nodes.shape(workspace, a_world(nodes=(a_gpu_node(),)))
        assert shape is not None
        assert (shape.gpu.count, shape.gpu.memory_gib) == (1, 12.0)
        assert shape.gpu_resource == "nvidia.com/mig-1g.12gb"


def relabelled(node, labels):
    return msgspec.structs.replace(
        node, metadata=msgspec.structs.replace(node.metadata, labels=labels)
    )


def preferring(*names: str, labels=None, **more):
    resource = {"preferredNodes": list(names), "labelSelector": {"matchLabels": labels or {}}}
    return a_workspace(resource={**resource, **more})


class TestShapeOfANode:
    nodes = BringYourOwn(cloudproviders.instance_types("azure"))

    def shape(self, node, **resource):
        workspace = a_workspace(resource={"labelSelector": {"matchLabels": {}}, **resource})
        shape = self.nodes.shape(workspace, a_world(nodes=(node,)))
        assert shape is not None
        return shape

    def test_without_gpu_labels_its_type_tells(self):
        type_ = {"node.kubernetes.io/instance-type": "Standard_NC24ads_A100_v4"}
        gpu = self.shape(relabelled(a_node(gpus=1), type_)).gpu
        assert (gpu.count, gpu.memory_gib) == (1, 80.0)

    def test_labels_of_the_gpus_tell_better(self):
        type_ = {"node.kubernetes.io/instance-type": "Standard_NC24ads_A100_v4"}
        node = a_gpu_node(gpus=2)
        assert self.shape(relabelled(node, {**node.metadata.labels, **type_})).gpu.count == 2

    def test_slices_that_pass_for_gpus_serve_one_by_one(self):
        node = a_gpu_node(product="NVIDIA-A100-SXM4-40GB-MIG-3g.20gb", gpus=2)
        cut = {"nvidia.com/mig.config": "all-3g.20gb", "nvidia.com/mig.config.state": "success"}
        shape = self.shape(relabelled(node, {**node.metadata.labels, **cut}))
        assert (shape.gpu.count, shape.mig_profile) == (1, "3g.20gb")
        assert shape.gpu_resource == "nvidia.com/gpu"

    @pytest.mark.parametrize(
        "cut",
        [
            {"nvidia.com/mig.config": "all-disabled", "nvidia.com/mig.config.state": "success"},
            {"nvidia.com/mig.config": "all-3g.20gb", "nvidia.com/mig.config.state": "pending"},
        ],
    )
    def test_gpus_that_are_not_cut_serve_together(self, cut):
        node = a_gpu_node(gpus=2)
        shape = self.shape(relabelled(node, {**node.metadata.labels, **cut}))
        assert (shape.gpu.count, shape.mig_profile) == (2, "")


class TestPreferredNodes:
    nodes = BringYourOwn()

    def plan(self, workspace, nodes, wanted=1, **seen):
        return self.nodes.plan(
            workspace, a_world(nodes=nodes, **seen), Need(TestPreferredNodes.a10(), wanted, 82)
        )

    @staticmethod
    def a10():
        return NodeShape("", GPU(1, "NVIDIA-A10", 24.0), 4, 12.0)

    def test_need_no_label(self):
        node = relabelled(a_gpu_node("mine"), GPU_LABELS)
        plan = self.plan(preferring("mine"), (node,))
        assert plan.waits_for is None
        assert plan.worker_nodes == ("mine",)

    def test_are_the_only_ones_where_nothing_else_is_selected(self):
        nodes = (relabelled(a_gpu_node("mine"), GPU_LABELS), a_gpu_node("other"))
        assert self.plan(preferring("mine"), nodes, 2).waits_for == "NodeNotReady"

    def test_come_first_and_the_selector_fills_up(self):
        workspace = preferring("z", labels={"apps": "llm"})
        nodes = (a_gpu_node("a"), relabelled(a_gpu_node("z"), GPU_LABELS))
        assert [each.metadata.name for each in selected(workspace, nodes)] == ["z", "a"]
        assert self.plan(workspace, nodes, 2).waits_for is None
        affinity = node_affinity(self.nodes.reach(workspace))
        assert affinity == {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [named("z"), labelled({"apps": "llm"})]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "preference": named("z")}
            ],
        }

    def test_each_is_a_term_of_its_own(self):
        """The API server takes one name in a term."""
        assert self.nodes.reach(preferring("a", "b", "a")) == Reach((named("a"), named("b")))

    def test_one_that_does_not_exist_is_named(self):
        plan = self.plan(preferring("mine", "mien"), (a_gpu_node("mine"),), 2)
        assert "preferredNodes that do not exist: mien" in plan.conditions[0].message
        waiting = self.nodes.waiting(preferring("mien"), a_world())
        assert waiting.conditions[0].message == (
            "no ready Node is one of preferredNodes (mien); preferredNodes that do not exist: mien"
        )

    def test_one_that_another_workspace_fills_is_not_counted_twice(self):
        nodes = (a_gpu_node("a"), a_gpu_node("b"))
        workspace = a_workspace(resource={"labelSelector": {"matchLabels": {"apps": "llm"}}})
        plan = self.plan(workspace, nodes, 2, taken=frozenset({"b"}))
        assert plan.waits_for == "NodeNotReady"
        assert "used by another Workspace or RAGEngine: b" in plan.conditions[0].message

    @pytest.mark.parametrize(
        "change",
        [
            {"unschedulable": True},
            {"taints": (Taint(key="maintenance", effect="NoExecute"),)},
        ],
    )
    def test_one_that_is_closed_counts_only_for_who_is_there_already(self, change):
        node = a_gpu_node("a")
        node = msgspec.structs.replace(node, spec=msgspec.structs.replace(node.spec, **change))
        plan = self.plan(preferring("a"), (node,))
        assert plan.waits_for == "NodeNotReady"
        assert "cordoned, or with a taint that is not tolerated: a" in plan.conditions[0].message
        assert self.plan(preferring("a"), (node,), pods=(a_pod(node="a"),)).waits_for is None

    def test_one_with_other_gpus_than_planned_is_not_counted(self):
        nodes = (a_gpu_node("a"), a_gpu_node("b", product="Tesla-T4"))
        assert self.plan(preferring("a", "b"), nodes, 2).waits_for == "NodeNotReady"
        assert self.plan(preferring("a", "b"), nodes, 1).waits_for is None


GPU_LABELS = {
    "nvidia.com/gpu.product": "NVIDIA-A10",
    "nvidia.com/gpu.count": "1",
    "nvidia.com/gpu.memory": "24576",
}


@pytest.mark.parametrize(
    "installation",
    [
        pytest.param(settings(), id="claims"),
        pytest.param(settings(node_classes=NODE_CLASSES), id="pools"),
        pytest.param(settings(byo=True), id="own"),
    ],
)
def test_a_target_that_cannot_be_computed_is_never_reached(installation):
    """However many nodes are ready."""
    type_ = "" if installation.facts.byo else "local-gpu-1"
    workspace = a_workspace(preset="unheard-of", instance_type=type_)
    plan = make_plan(workspace, a_world(nodes=(a_node(), a_gpu_node())), installation)
    assert plan.blocked is not None
    assert [each.type for each in plan.conditions if each.status == "True"] == []
