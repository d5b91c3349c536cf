"""The real Karpenter with its kwok cloud, which makes Node objects and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from apis.karpenter.v1.labels import CAPACITY_TYPE_LABEL, ZONE_LABEL
from cloudproviders.instancetype import InstanceType, Offering
from localcluster import ports
from localcluster.binaries import Binaries
from localcluster.processes import Daemon
from localcluster.tools import HERE, TOOLS

_TOOL = TOOLS["karpenter-kwok"]
_CRDS = ("pkg/apis/crds", "kwok/apis/crds")
NOISE = frozenset({"DEBUG", "INFO"})
"""Karpenter's levels that need nobody's attention."""


@cache
def module_directory() -> Path:
    """Karpenter's source, as Go's module cache has it; fetched where it has not."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    result = subprocess.run(
        [go, "mod", "download", "-json", _TOOL.module],
        cwd=HERE / _TOOL.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(result.stdout)["Dir"])


def definitions() -> list[dict[str, Any]]:
    """Karpenter's own CRDs, those of its kwok cloud among them."""
    found = [file for folder in _CRDS for file in sorted((module_directory() / folder).iterdir())]
    return [yaml.safe_load(file.read_text()) for file in found if file.suffix == ".yaml"]


def instance_types(types: Mapping[str, InstanceType]) -> str:
    """Our catalogue in the words of Karpenter's kwok cloud."""
    return json.dumps([_instance_type(each) for each in types.values()])


def _instance_type(given: InstanceType) -> dict[str, Any]:
    return {
        "name": given.name,
        "architecture": given.architecture,
        "operatingSystems": ["linux"],
        "resources": dict(given.capacity),
        "offerings": [
            {"Price": each.price, "Available": True, "Requirements": _requirements(each)}
            for each in given.offerings
        ],
    }


def _requirements(offering: Offering) -> list[dict[str, Any]]:
    said = {CAPACITY_TYPE_LABEL: offering.capacity_type, ZONE_LABEL: offering.zone}
    return [{"key": key, "operator": "In", "values": [value]} for key, value in said.items()]


@dataclass(frozen=True)
class Karpenter:
    """Its process lies in `directory`, and ends with the tests."""

    directory: Path
    binaries: Binaries
    kubeconfig: Path

    def start(self, types: Mapping[str, InstanceType]) -> None:
        file = self.directory / "instance-types.json"
        file.write_text(instance_types(types))
        chosen = ports.kept(self.directory / "karpenter-ports.json", ["metrics", "health"])
        self._daemon.start(
            [str(self.binaries.path("karpenter-kwok"))],
            environment={
                "KUBECONFIG": str(self.kubeconfig),
                "INSTANCE_TYPES_FILE_PATH": str(file),
                "SYSTEM_NAMESPACE": "default",
                "KARPENTER_SERVICE": "karpenter",
                "KUBERNETES_MIN_VERSION": "1.19.0-0",
                "METRICS_PORT": str(chosen["metrics"]),
                "HEALTH_PROBE_PORT": str(chosen["health"]),
                "DISABLE_LEADER_ELECTION": "true",
                "FEATURE_GATES": "StaticCapacity=true",
            },
            with_parent=True,
        )

    def stop(self) -> None:
        self._daemon.stop()

    def log_lines(self) -> list[dict[str, Any]]:
        """What Karpenter has logged. A line that is no JSON is an error of its own."""
        return [_parsed(line) for line in self._daemon.log.read_text().splitlines() if line.strip()]

    def complaints(self, since: int = 0) -> list[dict[str, Any]]:
        """The lines after the first `since` that an operator would be woken for."""
        return [line for line in self.log_lines()[since:] if line.get("level") not in NOISE]

    @property
    def _daemon(self) -> Daemon:
        return Daemon("karpenter", self.directory / "run", self.directory / "logs")


def _parsed(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"level": "UNPARSED", "message": line}
    return found
