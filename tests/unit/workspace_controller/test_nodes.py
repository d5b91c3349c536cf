"""Nodes of one's own, and when a node counts as ready."""

from __future__ import annotations

import msgspec
import pytest

from apis.gpu import GPU
from apis.kaito.v1beta1.workspace import Workspace
from tests.builders import a_gpu_node, a_node, a_workspace, a_workspace_manifest, a_world
from workspace_controller.errors import UserError
from workspace_controller.nodes import readiness
from workspace_controller.nodes.byo import BringYourOwn
from workspace_controller.nodes.provisioner import Need, NodeShape, user_labels

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
        assert self.nodes.node_labels(a_workspace()) == {"apps": "llm"}

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
