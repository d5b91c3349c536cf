"""The configuration of a node's programs, as text. Pure.

Paths are as the node sees them: its own directories lie on the standard places.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from localcluster.network import Network

PAUSE_IMAGE = "localhost/pause:3.10"
SYSTEM_RESERVED = {"cpu": "100m", "memory": "462Mi"}
"""What a machine keeps for itself; with the eviction threshold, 512 MiB."""
UNREGISTERED_TAINT = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}
_KUBELET_OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)
"""Of the kubernetes.io names, those that a kubelet may give itself (KEP-279)."""
_KUBELET_OWN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a node's device plugin pretends to have."""

    count: int
    model: str
    memory_gib: float  # of one
    healthy: bool = True
    delay_seconds: float = 0  # between the node's start and the arrival of its GPUs


@dataclass(frozen=True, slots=True)
class Node:
    """What a node is to be."""

    name: str
    index: int  # of its addresses
    cpus: int
    memory_gib: float
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    gpu: Gpu | None = None

    @property
    def provider_id(self) -> str:
        return f"local:///{self.name}"


def node_labels(node: Node) -> dict[str, str]:
    """The labels the kubelet registers with, those of GPU feature discovery among them."""
    labels = {key: value for key, value in node.labels.items() if _may_label(key)}
    if node.gpu is not None:
        labels["nvidia.com/gpu.product"] = node.gpu.model
        labels["nvidia.com/gpu.count"] = str(node.gpu.count)
        labels["nvidia.com/gpu.memory"] = str(int(node.gpu.memory_gib * 1024))
        labels["nvidia.com/gpu.present"] = "true"
    return labels


def _may_label(key: str) -> bool:
    """Whether the NodeRestriction admission and the kubelet itself let a kubelet set the label."""
    domain = key.rpartition("/")[0]
    foreign = not any(domain == d or domain.endswith(f".{d}") for d in ("kubernetes.io", "k8s.io"))
    delegated = any(domain == p or domain.endswith(f".{p}") for p in _KUBELET_OWN_PREFIXES)
    return foreign or delegated or key in _KUBELET_OWN_LABELS


def kubelet(node: Node, network: Network) -> str:
    """KubeletConfiguration. Images are never collected: no registry could give one back."""
    document: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node_address(node.index),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kaito-node/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [network.dns],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "makeIPTablesUtilChains": False,
        "maxPods": 110,
        "nodeLeaseDurationSeconds": 20,
        "nodeStatusUpdateFrequency": "2s",
        "systemReserved": SYSTEM_RESERVED,
        "providerID": node.provider_id,
        "registerWithTaints": [dict(taint) for taint in node.taints],
        "resolvConf": "/etc/kaito-node/resolv.conf",
        "serializeImagePulls": False,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }
    return yaml.safe_dump(document, sort_keys=False)


def kubelet_argv(program: str, node: Node, network: Network) -> list[str]:
    labels = ",".join(f"{key}={value}" for key, value in sorted(node_labels(node).items()))
    return [
        program,
        "--config=/etc/kaito-node/kubelet.yaml",
        "--kubeconfig=/etc/kaito-node/kubelet.kubeconfig",
        f"--hostname-override={node.name}",
        f"--node-ip={network.node_address(node.index)}",
        f"--node-labels={labels}",
    ]


def kube_proxy(node: Node, network: Network) -> str:
    """KubeProxyConfiguration. `clusterCIDR` makes it masquerade what comes from outside of pods."""
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": network.node_address(node.index),
        "clientConnection": {"kubeconfig": "/etc/kaito-node/kube-proxy.kubeconfig"},
        "clusterCIDR": str(network.pods),
        "conntrack": {"maxPerCore": 0},
        "healthzBindAddress": "127.0.0.1:10256",
        "hostnameOverride": node.name,
        "metricsBindAddress": "127.0.0.1:10249",
        "nftables": {"syncPeriod": "30s", "minSyncPeriod": "100ms"},
    }
    return yaml.safe_dump(document, sort_keys=False)


_UNUSED_PLUGINS = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)


def _containerd_head(root: str, state: str, disabled: tuple[str, ...]) -> str:
    return f"""\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = {json.dumps(list(disabled))}
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
"""


def containerd(cni_plugins: str) -> str:
    """A node's containerd.

    `restrict_oom_score_adj`: where CAP_SYS_RESOURCE is missing runc may not lower the score, and
    would die over it.
    """
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    head = _containerd_head("/var/lib/containerd", "/run/containerd", _UNUSED_PLUGINS)
    return f"""\
{head}[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
[{cri}.cni]
  bin_dir = "{cni_plugins}"
  conf_dir = "/etc/cni/net.d"
[{cri}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
"""


def containerd_for_import(root: Path, state: Path) -> str:
    """The containerd that fills the template: it runs no pods."""
    return _containerd_head(str(root), str(state), (*_UNUSED_PLUGINS, "io.containerd.grpc.v1.cri"))


def cni(node: Node, network: Network) -> str:
    """The pod network: a routed link for each pod.

    `ptp` and not `bridge`: what pods of one node say to each other through a service then passes
    the node's own routing, and comes back translated without help of br_netfilter.
    """
    address_management = {
        "type": "host-local",
        "subnet": str(network.pod_range(node.index)),
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni-networks",
    }
    plugins: list[dict[str, Any]] = [
        {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": address_management},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}, indent=2)


def meminfo(host: str, memory_gib: float) -> str:
    """The host's /proc/meminfo with the node's own size, which is what its kubelet reports."""
    total = int(memory_gib * 1024 * 1024)
    lines = []
    for line in host.splitlines():
        if line.startswith("MemTotal:"):
            line = f"MemTotal:       {total} kB"
        elif line.startswith("Swap"):
            line = f"{line.split(':')[0]}:       0 kB"
        lines.append(line)
    return "\n".join(lines) + "\n"
