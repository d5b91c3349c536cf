"""From a machine to what its node registers as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localcluster.fleet import node_for
from localcluster.instancetypes import InstanceTypes
from localcluster.machines import Request, Taint, new_machine
from localcluster.nodeconfig import Node

UNREGISTERED = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}


def _node(tmp_path: Path, kind: str, **changes: Any) -> Node:
    instance_type = InstanceTypes(tmp_path / "types.json").get(kind)
    assert instance_type is not None
    request = Request(**{"instance_type": kind, "uid": "u", **changes})
    return node_for(new_machine("a", request, index=3), instance_type)


def test_a_node_registers_with_its_type_and_zone(tmp_path: Path) -> None:
    node = _node(tmp_path, "local-cpu-2", labels={"mine": "x"})
    assert node.labels["node.kubernetes.io/instance-type"] == "local-cpu-2"
    assert node.labels["topology.kubernetes.io/zone"] == "local-a"
    assert node.labels["mine"] == "x"
    assert (node.name, node.cpus, node.memory_gib, node.index) == ("a", 2, 6.0, 3)


def test_a_node_keeps_pods_away_until_it_is_registered(tmp_path: Path) -> None:
    taint = Taint(key="sku", value="gpu", effect="NoSchedule")
    node = _node(tmp_path, "local-cpu-2", taints=[taint])
    assert list(node.taints) == [
        {"key": "sku", "effect": "NoSchedule", "value": "gpu"},
        UNREGISTERED,
    ]


def test_a_taint_that_the_caller_gives_too_is_there_once(tmp_path: Path) -> None:
    node = _node(tmp_path, "local-cpu-2", taints=[Taint(**UNREGISTERED)])
    assert list(node.taints) == [UNREGISTERED]


def test_gpus_are_those_of_the_type(tmp_path: Path) -> None:
    gpu = _node(tmp_path, "local-gpu-2").gpu
    assert gpu is not None
    assert (gpu.count, gpu.model, gpu.memory_gib, gpu.healthy) == (2, "NVIDIA-A10", 24, True)
    assert _node(tmp_path, "local-cpu-2").gpu is None
