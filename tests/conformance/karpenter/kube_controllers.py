"""What Kubernetes itself does beside a provisioner: the real programs, without root.

The controllers collect what has no owner any more, take `not-ready` off Nodes and make pods of
StatefulSets; the scheduler finds nodes for those. No kubelet renews anything here, so that a Node
may be silent for an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localcluster.binaries import Binaries
from localcluster.processes import Daemon

_MANAGER, _SCHEDULER = "kube-controller-manager", "kube-scheduler"
_CONTROLLERS = (
    "garbage-collector-controller",
    "node-lifecycle-controller",
    "serviceaccount-controller",
    "statefulset-controller",
)


@dataclass(frozen=True)
class KubeControllers:
    """Their processes lie in `directory`, and end with the tests."""

    directory: Path
    binaries: Binaries
    kubeconfig: Path

    def start(self) -> None:
        """Once the API server knows all kinds: the collector looks for new ones every half a
        minute only."""
        self._start(
            _MANAGER,
            {"controllers": ",".join(_CONTROLLERS), "node-monitor-grace-period": "1h"},
        )
        self._start(_SCHEDULER, {})

    def stop(self) -> None:
        for name in (_SCHEDULER, _MANAGER):
            self._daemon(name).stop()

    def _start(self, name: str, more: dict[str, str]) -> None:
        flags = {
            "kubeconfig": str(self.kubeconfig),
            "leader-elect": "false",
            "secure-port": "0",
            **more,
        }
        argv = [f"--{key}={value}" for key, value in flags.items()]
        self._daemon(name).start([str(self.binaries.path(name)), *argv], with_parent=True)

    def _daemon(self, name: str) -> Daemon:
        return Daemon(name, self.directory / "run", self.directory / "logs")
