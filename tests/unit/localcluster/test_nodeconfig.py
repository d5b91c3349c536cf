"""What a node's programs are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from localcluster import nodeconfig
from localcluster.network import Network
from localcluster.nodeconfig import Gpu, Node

NETWORK = Network()


def _node(**changes: Any) -> Node:
    return Node(**{"name": "a", "index": 2, "cpus": 4, "memory_gib": 12.0, **changes})


def _kubelet(node: Node) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(nodeconfig.kubelet(node, NETWORK))
    return document


def test_the_kubelet_runs_on_cgroup_v1_without_quality_of_service_cgroups() -> None:
    document = _kubelet(_node())
    assert document["failCgroupV1"] is False
    assert document["cgroupsPerQOS"] is False
    assert document["enforceNodeAllocatable"] == []


def test_images_are_never_collected() -> None:
    assert _kubelet(_node())["imageGCHighThresholdPercent"] == 100


def test_the_kubelet_registers_with_provider_id_and_taints() -> None:
    taint = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    document = _kubelet(_node(taints=(taint,)))
    assert document["providerID"] == "local:///a"
    assert document["registerWithTaints"] == [taint]


def test_gpus_bring_the_labels_of_feature_discovery() -> None:
    labels = nodeconfig.node_labels(_node(gpu=Gpu(2, "NVIDIA-A10", 24)))
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-A10"
    assert labels["nvidia.com/gpu.count"] == "2"
    assert labels["nvidia.com/gpu.memory"] == "24576"


def test_nodes_without_gpus_have_no_such_labels() -> None:
    assert nodeconfig.node_labels(_node()) == {}


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("kaito.sh/workspace", True),
        ("app", True),
        ("node.kubernetes.io/instance-type", True),
        ("node.kubernetes.io/anything", True),
        ("topology.kubernetes.io/zone", True),
        ("node-role.kubernetes.io/gpu", False),
        ("node-restriction.kubernetes.io/x", False),
        ("kubernetes.io/something", False),
        ("x.k8s.io/y", False),
    ],
)
def test_labels_that_a_kubelet_may_not_set_are_left_out(key: str, kept: bool) -> None:
    assert (key in nodeconfig.node_labels(_node(labels={key: "x"}))) is kept


def test_the_node_is_named_as_its_machine() -> None:
    argv = nodeconfig.kubelet_argv("/bin/kubelet", _node(labels={"b": "2", "a": "1"}), NETWORK)
    assert "--hostname-override=a" in argv
    assert f"--node-ip={NETWORK.node_address(2)}" in argv
    assert "--node-labels=a=1,b=2" in argv


def test_containerd_never_lowers_oom_scores() -> None:
    text = nodeconfig.containerd("/usr/lib/cni")
    assert "restrict_oom_score_adj = true" in text
    assert "SystemdCgroup = false" in text
    assert f'sandbox_image = "{nodeconfig.PAUSE_IMAGE}"' in text


def test_pods_get_addresses_of_their_nodes_range() -> None:
    plugins = json.loads(nodeconfig.cni(_node(index=7), NETWORK))["plugins"]
    assert plugins[0]["ipam"]["subnet"] == "10.244.7.0/24"


def test_kube_proxy_masquerades_what_does_not_come_from_pods() -> None:
    document = yaml.safe_load(nodeconfig.kube_proxy(_node(), NETWORK))
    assert document["mode"] == "nftables"
    assert document["clusterCIDR"] == "10.244.0.0/16"
    assert document["conntrack"]["maxPerCore"] == 0


def test_the_node_shows_its_own_memory() -> None:
    host = "MemTotal:       24684096 kB\nMemFree: 5 kB\nSwapTotal: 9 kB\n"
    text = nodeconfig.meminfo(host, 6)
    assert "MemTotal:       6291456 kB" in text
    assert "MemFree: 5 kB" in text
    assert "SwapTotal:       0 kB" in text
