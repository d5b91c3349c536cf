"""From machines and the cluster's settings to nodes."""

from __future__ import annotations

from pathlib import Path

from localcluster import instancetypes, machines, nodeconfig, requirements
from localcluster.addons import SYSTEM_LABEL
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane
from localcluster.instancetypes import InstanceType
from localcluster.machines import Machine, MachineStore
from localcluster.network import SYSTEM_NODE_INDEX, Network
from localcluster.node import RunningNode, Surroundings
from localcluster.nodeconfig import Gpu, Node
from localcluster.paths import State
from localcluster.template import Template

SYSTEM_NODE = "system"
_SYSTEM_CPUS = 2
_SYSTEM_MEMORY_GIB = 4.0


class Fleet:
    """All nodes of a cluster: the system node, and one for each machine."""

    def __init__(
        self,
        state: State,
        network: Network,
        binaries: Binaries,
        control_plane: ControlPlane,
        models: Path,
    ) -> None:
        self._state = state
        self._network = network
        self._binaries = binaries
        self._control_plane = control_plane
        self._models = models

    def template(self) -> Template:
        return Template(self._state.template, self._state.run, self._state.logs)

    def system_node(self) -> RunningNode:
        """The node that is always there, for what belongs to the cluster itself."""
        node = Node(
            SYSTEM_NODE,
            SYSTEM_NODE_INDEX,
            _SYSTEM_CPUS,
            _SYSTEM_MEMORY_GIB,
            labels={**SYSTEM_LABEL, "topology.kubernetes.io/zone": machines.ZONE},
        )
        return RunningNode(node, self._state.system_node, self._surroundings())

    def node_of(self, machine: Machine, kind: InstanceType) -> RunningNode:
        """The node that a machine is."""
        directory = MachineStore(self._state.machines).node_directory(machine.name)
        return RunningNode(node_for(machine, kind), directory, self._surroundings())

    def all(self) -> list[RunningNode]:
        """Every node that there may be, running or not."""
        types = instancetypes.InstanceTypes(self._state.instance_types)
        found = [self.system_node()]
        for machine in MachineStore(self._state.machines).load():
            if kind := types.get(machine.instance_type):
                found.append(self.node_of(machine, kind))
        return found

    def _surroundings(self) -> Surroundings:
        self._models.mkdir(parents=True, exist_ok=True)
        return Surroundings(
            network=self._network,
            binaries=self._binaries,
            authority=self._control_plane.authority,
            server=self._control_plane.server,
            template=self.template(),
            models=self._models,
            cni_plugins=requirements.cni_plugins(),
        )


def node_for(machine: Machine, kind: InstanceType) -> Node:
    """What a machine's node registers as. Pure."""
    labels = {
        **machine.labels,
        "node.kubernetes.io/instance-type": machine.instance_type,
        "topology.kubernetes.io/zone": machine.zone,
    }
    taints: dict[tuple[str, str], dict[str, str]] = {}  # a kubelet refuses to start with doubles
    for taint in machine.taints:
        taints[taint.key, taint.effect] = {"key": taint.key, "effect": taint.effect}
        if taint.value:
            taints[taint.key, taint.effect]["value"] = taint.value
    own = nodeconfig.UNREGISTERED_TAINT
    taints[own["key"], own["effect"]] = own
    gpu = None
    if kind.gpu is not None:
        gpu = Gpu(
            kind.gpu.count,
            kind.gpu.model,
            kind.gpu.memory_gib,
            healthy=not kind.sick,
            delay_seconds=kind.gpu_seconds,
        )
    return Node(
        machine.name,
        machine.index,
        kind.cpus,
        kind.memory_gib,
        labels=labels,
        taints=tuple(taints.values()),
        gpu=gpu,
    )
