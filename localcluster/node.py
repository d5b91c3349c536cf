"""A node: namespaces held by one process, and a directory.

The process (nodeinit) has its own mounts, pids, network, hostname and cgroup root. Ending it
is like pulling the plug of a machine: nothing of the node survives but its directory and its
empty cgroups, which are removed next.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster import cgroups, network, nodeconfig, pki
from localcluster.binaries import Binaries
from localcluster.commands import run
from localcluster.network import Network
from localcluster.nodeconfig import Node
from localcluster.processes import Daemon, ProcessId, StartError, wait_until
from localcluster.template import Template

SOURCE = Path(__file__).resolve().parent.parent
"""What a node's Python programs are imported from."""
CONFIGURATION = "/etc/kaito-node"
MODELS = "/opt/kaito/models"
DEVICES = "devices.json"
OWN_DIRECTORIES = {
    "configuration": CONFIGURATION,
    "kubelet": "/var/lib/kubelet",
    "kaito": "/var/lib/kaito",
    "containerd": "/var/lib/containerd",
    "run-containerd": "/run/containerd",
    "run-netns": "/run/netns",
    "run-cni": "/run/cni-networks",
    "cni": "/etc/cni/net.d",
    "log-pods": "/var/log/pods",
    "log-containers": "/var/log/containers",
}
"""Directories of the node's own, and where it sees them."""
_ENTER_CGROUPS = 'n=$1; shift; while [ $n -gt 0 ]; do echo $$ >"$1"; shift; n=$((n-1)); done; '
_NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all nodes of a cluster share."""

    network: Network
    binaries: Binaries
    authority: pki.Authority
    server: str  # the API server's URL
    template: Template
    models: Path
    cni_plugins: Path


class RunningNode:
    """A node in a directory. Every step may be repeated."""

    def __init__(self, node: Node, directory: Path, surroundings: Surroundings) -> None:
        self.node = node
        self._directory = directory
        self._shared = surroundings

    @property
    def process(self) -> ProcessId | None:
        """The process that holds the node, in the host's numbers."""
        return self._daemon.process

    def start(self) -> None:
        """Plug the node in; what an earlier, interrupted try left is removed first."""
        if (process := self.process) and network.attached(process.pid):
            return
        self.stop()
        self._prepare()
        cgroup_files = cgroups.create(self.node.name)
        self._daemon.start(self._launch_argv(cgroup_files))
        pid = self._await_namespace()
        cgroups.settle(self.node.name, pid)
        network.attach(self._shared.network, self.node.index, pid)

    def stop(self) -> None:
        """Pull the plug, and remove what the node held on the host; its directory stays."""
        if process := self.process:
            process.signal(signal.SIGKILL)
            wait_until(lambda: not process.alive, 10)
        self._daemon.stop(grace_seconds=0)
        for pid in cgroups.processes(self.node.name):  # an init that lost its launcher
            if stray := ProcessId.of(pid):
                stray.signal(signal.SIGKILL)
        network.detach(self._shared.network, self.node.index)
        if busy := cgroups.remove(self.node.name):
            raise StartError(f"{self.node.name}: processes are left in {busy[0]}")

    def remove(self) -> None:
        """Stop, and remove the directory too."""
        self.stop()
        if self._directory.exists():
            shutil.rmtree(self._directory)

    def set_gpu_health(self, healthy: bool) -> None:
        """What the device plugin tells the kubelet from now on."""
        if gpu := self.node.gpu:
            document = {
                "count": gpu.count,
                "healthy": healthy,
                "delaySeconds": gpu.delay_seconds,
            }
            file = self._own("configuration") / DEVICES
            temporary = file.with_suffix(".tmp")
            temporary.write_text(json.dumps(document))
            temporary.rename(file)

    @property
    def _daemon(self) -> Daemon:
        return Daemon("init", self._directory / "run", self._directory / "logs")

    def _own(self, name: str) -> Path:
        return self._directory / name

    def _prepare(self) -> None:
        """Write the node's directory anew."""
        for name in OWN_DIRECTORIES:
            shutil.rmtree(self._own(name), ignore_errors=True)
            if name != "containerd":
                self._own(name).mkdir(parents=True)
        self._directory.joinpath("logs").mkdir(exist_ok=True)
        with self._shared.template.held() as template:
            clone_containerd(template, self._own("containerd"))
        self._write_configuration()
        self._write_hardware()
        if gpu := self.node.gpu:
            self.set_gpu_health(gpu.healthy)
        specification = json.dumps(self._specification(), indent=2)
        self._own("init.json").write_text(specification)

    def _write_configuration(self) -> None:
        shared, node = self._shared, self.node
        target = self._own("configuration")
        target.joinpath("kubelet.yaml").write_text(nodeconfig.kubelet(node, shared.network))
        target.joinpath("kube-proxy.yaml").write_text(nodeconfig.kube_proxy(node, shared.network))
        containerd = nodeconfig.containerd(str(shared.cni_plugins))
        target.joinpath("containerd.toml").write_text(containerd)
        target.joinpath("resolv.conf").write_text(self._resolv_conf())
        shutil.copy(shared.authority.pair.certificate, target / "ca.crt")
        self._own("cni").joinpath("10-pods.conflist").write_text(
            nodeconfig.cni(node, shared.network)
        )
        users = {
            "kubelet": (f"system:node:{node.name}", ["system:nodes"]),
            "kube-proxy": ("system:kube-proxy", []),
        }
        for name, (user, groups) in users.items():
            client = shared.authority.client(name, user, groups, into=target)
            document = pki.kubeconfig(shared.server, shared.authority.pair, client)
            pki.write_private(target / f"{name}.kubeconfig", document.encode())

    def _resolv_conf(self) -> str:
        """Of pods with the node's DNS; a closed cluster knows no server."""
        return Path("/etc/resolv.conf").read_text() if self._shared.network.egress else ""

    def _write_hardware(self) -> None:
        """Files that show the node's programs its own size instead of the host's."""
        hardware = self._own("hardware")
        shutil.rmtree(hardware, ignore_errors=True)
        memory = nodeconfig.meminfo(Path("/proc/meminfo").read_text(), self.node.memory_gib)
        kib = int(self.node.memory_gib * 1024 * 1024)
        files = {
            "meminfo": memory,
            "cpu-online": f"0-{self.node.cpus - 1}\n",
            "numa/online": "0\n",
            "numa/node0/meminfo": f"Node 0 MemTotal:       {kib} kB\n",
            "numa/node0/distance": "10\n",
        }
        for cpu in range(self.node.cpus):
            files[f"numa/node0/cpu{cpu}/topology/core_id"] = f"{cpu}\n"
            files[f"numa/node0/cpu{cpu}/topology/physical_package_id"] = "0\n"
        for name, content in files.items():
            path = hardware / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def _specification(self) -> dict[str, object]:
        """What nodeinit is to do."""
        hardware = self._own("hardware")
        binds = [[str(self._own(name)), target, ""] for name, target in OWN_DIRECTORIES.items()]
        binds += [
            [str(hardware / "meminfo"), "/proc/meminfo", "ro"],
            [str(hardware / "cpu-online"), "/sys/devices/system/cpu/online", "ro"],
            [str(hardware / "numa"), "/sys/devices/system/node", "ro"],
            [str(self._shared.models), MODELS, "ro"],
        ]
        return {
            "hostname": self.node.name,
            "binds": binds,
            "cgroups": [
                {"mount_point": str(item.mount_point), "options": item.options, "version": v}
                for item in cgroups.mounted()
                for v in [item.version]
            ],
            "network": self._shared.network.inside_plan(self.node.index),
            "sysctls": {
                "net.ipv4.ip_forward": "1",
                "net.ipv4.conf.eth0.proxy_arp": "1",
                "net.ipv4.neigh.eth0.proxy_delay": "0",
            },
            "programs": self._programs(),
        }

    def _programs(self) -> list[dict[str, object]]:
        program = self._shared.binaries.path
        socket = "/run/containerd/containerd.sock"
        kubelet = nodeconfig.kubelet_argv(str(program("kubelet")), self.node, self._shared.network)
        proxy = [str(program("kube-proxy")), f"--config={CONFIGURATION}/kube-proxy.yaml"]
        programs: list[dict[str, object]] = [
            {
                "name": "containerd",
                "argv": ["containerd", "--config", f"{CONFIGURATION}/containerd.toml"],
            },
            {"name": "kubelet", "argv": kubelet, "after": socket},
            {"name": "kube-proxy", "argv": proxy},
        ]
        if self.node.gpu is not None:
            plugin = [sys.executable, "-m", "localcluster.deviceplugin"]
            argv = [*plugin, f"{CONFIGURATION}/{DEVICES}"]
            programs.append({"name": "device-plugin", "argv": argv})
        return programs

    def _launch_argv(self, cgroup_files: Sequence[Path]) -> list[str]:
        """Join the node's cgroups, then leave the host's namespaces, then become nodeinit."""
        return [
            *["sh", "-c", f'{_ENTER_CGROUPS} exec "$@"', "launch", str(len(cgroup_files))],
            *map(str, cgroup_files),
            *["unshare", *_NAMESPACES, "--propagation", "private", "--mount-proc"],
            *["--fork", "--kill-child"],
            *["env", f"PYTHONPATH={SOURCE}", "PYTHONDONTWRITEBYTECODE=1"],
            *[sys.executable, "-m", "localcluster.nodeinit", str(self._directory)],
        ]

    def _await_namespace(self) -> int:
        """The launcher's pid, as soon as it has left the host's network namespace."""
        host = os.stat("/proc/self/ns/net").st_ino

        def left() -> bool:
            self._daemon.require_running()
            process = self.process
            return process is not None and _network_namespace(process.pid) not in {host, 0}

        wait_until(left, 10, every=0.005)
        self._daemon.require_running()
        process = self.process
        if process is None:
            raise StartError(f"{self.node.name} has ended while it started")
        return process.pid


def _network_namespace(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0


def clone_containerd(template: Path, target: Path) -> None:
    """Copy a containerd root by hard links, its databases for real: they alone are written to."""
    run(["cp", "-al", template, target])
    for database in target.glob("*/*.db"):
        private = database.with_suffix(".private")
        shutil.copy2(database, private)
        private.rename(database)


def remove_mount_points() -> None:
    """Remove from the host the empty directories that nodes were mounted on."""
    for target in [*OWN_DIRECTORIES.values(), MODELS, "/opt/kaito", "/etc/cni"]:
        try:
            Path(target).rmdir()
        except OSError:
            continue  # not empty, or not there: it is not ours alone
