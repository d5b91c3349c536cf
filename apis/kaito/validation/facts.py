"""What a verdict on a Workspace needs to know beyond the object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from apis.errors import FieldError
from apis.gpu import GPU
from apis.kaito.v1beta1.workspace import Workspace

BYO = "byo"
KARPENTER = "karpenter"
NODECLAIM = "nodeclaim"
AZURE_GPU_PROVISIONER = "azure-gpu-provisioner"
NODE_PROVISIONERS = (NODECLAIM, AZURE_GPU_PROVISIONER, KARPENTER, BYO)


@dataclass(frozen=True, slots=True)
class Layout:
    """How many nodes, and why, as `2 nodes of a with 1 × 24 GiB are needed for 30 GiB`."""

    nodes: int
    why: str


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Look-ups handed in. What nobody can know here is None, and its rules are left out."""

    node_provisioner: str = NODECLAIM
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    cloud: str = ""
    """Its name, for messages."""
    known_cloud: bool = True
    preset_known: Callable[[str], bool]
    """Whether the catalogue has the name or alias, in any case of letters."""
    preset_names: tuple[str, ...] = ()
    """To suggest from."""
    instance_type: Callable[[str], GPU | None]
    """The type's GPUs, a count of 0 where it has none; None where there is no such type."""
    instance_type_names: tuple[str, ...] = ()
    """To suggest from."""
    instance_type_prefixes: tuple[str, ...] = ()
    """Types that the cloud takes although the table does not have them."""
    node_class_names: tuple[str, ...] = ()
    """Those that `kaito.sh/node-class-name` may name (node provisioner karpenter)."""
    config_map: Callable[[str], Mapping[str, str] | None] | None = None
    """Data of a ConfigMap in the Workspace's namespace, by name; None where it is absent."""
    csi_driver: Callable[[str], bool] | None = None
    """Whether the cluster has the CSIDriver (feature gate ModelStreaming)."""
    nodes: tuple[Mapping[str, str], ...] | None = None
    """Labels of the Nodes that the selector matches (node provisioner byo)."""
    max_model_len: Callable[[str], int | None] = _nothing
    """How many tokens of context the preset was made for."""
    weights_gib: Callable[[str], float | None] = _nothing
    auth_required: Callable[[str], bool | None] = _nothing
    runtime_refusal: Callable[[str, str], str | None] | None = None
    """(preset, runtime) → why the runtime can never serve the preset."""
    layout: Callable[[Workspace, Mapping[str, str] | None], Layout | None] = _nothing
    """How many nodes a preset is laid out on, with the data of its ConfigMap; None where it is for
    the Workspace to say."""
    fits: Callable[[Workspace, Mapping[str, str] | None], str | None] | None = None
    """Why the model cannot run on the instance type, with the data of its ConfigMap, or None."""

    @property
    def byo(self) -> bool:
        """Nodes are brought along: nothing is created, so nothing can be asked for."""
        return self.node_provisioner == BYO

    def config_of(self, workspace: Workspace) -> Mapping[str, str] | None:
        """Data of the ConfigMap that `inference.config` names; None where nobody knows it."""
        name = workspace.inference.config if workspace.inference else ""
        return self.config_map(name) if name and self.config_map is not None else None

    def gate(self, name: str, default: bool = False) -> bool:
        return self.feature_gates.get(name, default)


def no_config_map(path: str, name: str, namespace: str) -> FieldError:
    """What is said of one that a field names, and that is not there."""
    return FieldError(
        path, f'there is no ConfigMap "{name}" in namespace "{namespace}"; create it first'
    )
