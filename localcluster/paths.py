"""Where things lie: the cache that outlives clusters, and the state of one cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STATE = Path("/var/lib/kaito-localcluster")
"""Default state directory of a cluster."""


def cache_directory(environment: Mapping[str, str] | None = None) -> Path:
    """The cache of binaries, images and models: KAITO_CACHE, or kaito/ under the XDG cache home."""
    environment = environment or {}
    if chosen := environment.get("KAITO_CACHE"):
        return Path(chosen)
    if xdg := environment.get("XDG_CACHE_HOME"):
        return Path(xdg) / "kaito"
    return Path.home() / ".cache" / "kaito"


def assets_directory(environment: Mapping[str, str]) -> Path | None:
    """Binaries that the user brings along, by the convention of envtest."""
    chosen = environment.get("KUBEBUILDER_ASSETS")
    return Path(chosen) if chosen else None


@dataclass(frozen=True, slots=True)
class State:
    """The directory of one cluster."""

    root: Path

    @property
    def control_plane(self) -> Path:
        return self.root / "control-plane"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.control_plane / "admin.kubeconfig"

    @property
    def machines(self) -> Path:
        """One directory a machine; what is here exists or is being deleted."""
        return self.root / "machines"

    @property
    def machines_token(self) -> Path:
        """The bearer token of the machines API."""
        return self.root / "machines.token"

    @property
    def template(self) -> Path:
        """The containerd root, with all images in it, that nodes are cloned from."""
        return self.root / "containerd-template"

    @property
    def instance_types(self) -> Path:
        """Changes made to the types of machines."""
        return self.root / "instance-types.json"

    @property
    def system_node(self) -> Path:
        return self.root / "system-node"

    @property
    def shape(self) -> Path:
        """What the cluster was brought up with, for the commands that come later."""
        return self.root / "shape.json"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"
