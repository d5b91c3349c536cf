"""The whole cluster: up, down, and what is left of it.

Each stage may be repeated, and one that a killed run left half done is done again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from localcluster import addons, cgroups, machined, network, node, requirements
from localcluster.addons import Kubectl
from localcluster.binaries import Binaries, BinaryError, locked
from localcluster.buildah import Built
from localcluster.commands import CommandError
from localcluster.controlplane import ControlPlane
from localcluster.fleet import SYSTEM_NODE, Fleet
from localcluster.images import Archive, Builder, by_reference
from localcluster.instancetypes import InstanceTypes
from localcluster.machines import MachineStore
from localcluster.machineservice import MachineService
from localcluster.models import Models
from localcluster.network import Network
from localcluster.paths import STATE, State
from localcluster.processes import Daemon, ProcessId, StartError, wait_until
from localcluster.progress import Say, stage, to_stderr
from localcluster.recipes import Recipe, discover
from localcluster.template import import_archive

API_PORT = 6443
REPOSITORY = node.SOURCE
OWNER = Path("/run/kaito-localcluster.state")
"""Names the state directory of the one cluster that a machine has room for."""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says why."""


FAILURES = (
    BinaryError,
    ClusterError,
    CommandError,
    StartError,
    requirements.MissingError,
    PermissionError,
)
"""What a command on a cluster tells in one message, without a traceback."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a cluster is made from."""

    cache: Path
    binaries: Binaries
    state: Path = STATE
    network: Network = field(default_factory=Network)

    @property
    def shape(self) -> dict[str, object]:
        """What later commands must know of the first one's options."""
        return {"nodes": str(self.network.nodes), "egress": self.network.egress}


def network_of(state: State) -> Network:
    """The network that a cluster was brought up with."""
    try:
        shape = json.loads(state.shape.read_text())
    except FileNotFoundError:
        return Network()
    return Network(nodes=IPv4Network(shape["nodes"]), egress=shape["egress"])


class Cluster:
    """One cluster on this machine."""

    def __init__(self, settings: Settings, say: Say = to_stderr) -> None:
        self._settings = settings
        self._say = say
        self._network = settings.network
        self.state = State(settings.state)
        self.control_plane = ControlPlane(
            self.state.control_plane,
            settings.binaries,
            address=self._network.gateway,
            secure_port=API_PORT,
            full=True,
        )
        models = Models(settings.cache, say)
        self._models = models
        self._fleet = Fleet(
            self.state, self._network, settings.binaries, self.control_plane, models.directory
        )
        self._builder = Builder(settings.cache, settings.binaries, say)
        self._machined = Daemon("machined", self.state.run, self.state.logs)

    @property
    def machines_url(self) -> str:
        """The machines API, for pods as for the host."""
        return f"http://{self._network.gateway}:{machined.PORT}"

    @property
    def running(self) -> bool:
        return self.state.control_plane.exists() and self.control_plane.running

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self._settings.binaries.path("kubectl"), self.state.kubeconfig)

    def build(self, names: Sequence[str], tag: str) -> list[Archive]:
        """Build the project's images by name, each only where its inputs have changed."""
        return [self._builder.build(recipe) for recipe in self._recipes(names, tag)]

    def build_twice(self, name: str, tag: str) -> tuple[Built, Built]:
        """Two builds of an image from nothing: the same, or it is not reproducible."""
        return self._builder.build_twice(*self._recipes([name], tag))

    def base_image(self) -> Archive:
        """Debian with Python: what the project's images start from, and enough for test pods."""
        return self._builder.base()

    def models(self, *, huggingface: bool = False, embedder: bool = False) -> None:
        """Fetch the models that nodes find under /opt/kaito/models."""
        self._models.ensure(huggingface=huggingface)
        if embedder:
            self._models.embedder()

    def up(self, archives: Mapping[str, tuple[str, Path]] | None = None) -> None:
        """Bring the cluster up, with the given images on its nodes."""
        requirements.check()
        with self._alone(), stage(self._say, "local cluster"):
            self._claim_machine()
            with stage(self._say, "network"):
                network.up(self._network, self.state.root)
            with stage(self._say, "control plane"):
                self.control_plane.start()
            with stage(self._say, "images"):
                self.load({**by_reference(self._builder.system()), **(archives or {})})
            with stage(self._say, "machines API"):
                self._start_machined()
            with stage(self._say, "system node"):
                self._fleet.system_node().start()
                self.kubectl.wait_ready_node(SYSTEM_NODE, 60)
            with stage(self._say, "DNS"):
                image = self._builder.coredns_reference()
                self.kubectl.apply(addons.coredns(image, self._network))
                rollout = ["rollout", "status", "deployment/coredns", "--timeout=60s"]
                self.kubectl("--namespace=kube-system", *rollout)

    def down(self) -> None:
        """Remove the cluster with its data; images that nodes are cloned from stay."""
        with self._alone(), stage(self._say, "take the local cluster down"):
            self._machined.stop()
            if self.state.control_plane.exists():
                for running in self._fleet.all():
                    running.remove()
            Daemon("template-containerd", self.state.run, self.state.logs).stop()
            self.control_plane.stop(grace_seconds=0.5)  # its data goes with it
            network.down(self._network, self.state.root)
            cgroups.remove_parent()
            node.remove_mount_points()
            for path in self.state.root.iterdir():
                if path.is_dir() and path != self.state.template:
                    shutil.rmtree(path)
            for path in (self.state.machines_token, self.state.instance_types, self.state.shape):
                path.unlink(missing_ok=True)
            OWNER.unlink(missing_ok=True)

    def leftovers(self) -> list[str]:
        """What of the cluster is still on the machine, in words; empty after `down`."""
        root = str(self.state.root)
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return [
            *_daemons(root),
            *(f"mount {line.split()[4]}" for line in mounts if root in line),
            *network.remains(self._network),
            *cgroups.remains(),
        ]

    def status(self) -> list[str]:
        """One line for each part."""
        lines = [f"control plane: {'running' if self.running else 'off'}"]
        lines.append(f"machines API: {'running' if self._machined.process else 'off'}")
        if self.running:
            for running in self._fleet.all():
                process = running.process
                state = f"pid {process.pid}" if process else "off"
                lines.append(f"node {running.node.name}: {state}")
            lines.append(f"kubeconfig: {self.state.kubeconfig}")
        return lines

    def load(self, archives: Mapping[str, tuple[str, Path]]) -> None:
        """Give images to nodes: to those to come through the template, to the others directly."""
        for name in self._fleet.template().load(archives):
            self._say(f"imported {name}")
            for running in self._fleet.all():
                if process := running.process:
                    inside = ["nsenter", "--mount", "--net", "--target", str(process.pid)]
                    import_archive([*inside, "ctr"], archives[name][1])

    async def serve_machines(self) -> None:
        """Be the daemon of the machines API until told to stop."""
        types = InstanceTypes(self.state.instance_types)
        store = MachineStore(self.state.machines)
        service = MachineService(store, types, self._fleet.node_of, self._forget_node)
        token = machined.ensure_token(self.state.machines_token)
        await machined.serve(service, token, self._network.gateway)

    def _recipes(self, names: Sequence[str], tag: str) -> list[Recipe]:
        known = {recipe.name: recipe for recipe in discover(REPOSITORY, tag)}
        if unknown := sorted(set(names) - set(known)):
            raise ClusterError(f"no image {', '.join(unknown)}; there are: {', '.join(known)}")
        return [known[name] for name in names]

    def _forget_node(self, name: str) -> None:
        self.kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One `up` or `down` at a time."""
        with locked(self.state.root / ".lock"):
            yield

    def _claim_machine(self) -> None:
        """Refuse to share bridge and addresses with a cluster in another state directory."""
        owner = OWNER.read_text() if OWNER.exists() else ""
        mine = str(self.state.root)
        if owner not in {"", mine} and Path(owner).exists():
            raise ClusterError(
                f"this machine has a cluster in {owner}; take that down first: "
                f"python -m localcluster down --state {owner}"
            )
        if self.state.shape.exists():
            shape = json.loads(self.state.shape.read_text())
            if shape != self._settings.shape and self.running:
                raise ClusterError("the cluster runs with other options; take it down first")
        OWNER.write_text(mine)
        self.state.shape.write_text(json.dumps(self._settings.shape))

    def _start_machined(self) -> None:
        machined.ensure_token(self.state.machines_token)
        cache = str(self._settings.cache)
        settings = {"PYTHONPATH": str(REPOSITORY), "KAITO_CACHE": cache}
        command = ["machined", "--state", str(self.state.root)]
        self._machined.start([sys.executable, "-m", "localcluster", *command], environment=settings)

        def answers() -> bool:
            self._machined.require_running()
            return machined.healthy(self._network.gateway)

        if not wait_until(answers, 20):
            raise StartError(f"the machines API does not answer; see {self._machined.log}")


def _daemons(root: str) -> list[str]:
    """Processes of the cluster: leaders of a session whose command line names its directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            leader = os.getsid(pid) == pid
        except OSError:
            continue
        if leader and root in command and pid != os.getpid() and ProcessId.of(pid):
            found.append(f"process {pid}: {command[:100]}")
    return found
