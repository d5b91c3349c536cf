"""The kinds of Kubernetes itself that we read, as partial structs: only the fields in use.

A field that is missing here costs nothing when it changes; add one when a decision needs it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from kube.meta import Condition, Manifest, ObjectMeta, Resource


class _Object(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    pass


class _Named(_Object, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


class Taint(_Object, frozen=True):
    """core/v1 Taint."""

    key: str
    effect: str
    value: str = ""
    time_added: datetime | None = None

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}"

    def matches(self, other: Taint) -> bool:
        """The same taint as Kubernetes sees it: key and effect; the value may differ."""
        return self.key == other.key and self.effect == other.effect


class NodeSpec(_Object, frozen=True):
    provider_id: str = msgspec.field(default="", name="providerID")
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class NodeSystemInfo(_Object, frozen=True):
    kubelet_version: str = ""
    container_runtime_version: str = ""
    """As containerd://2.1.4."""


class NodeStatus(_Object, frozen=True):
    conditions: tuple[Condition, ...] = ()
    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    node_info: NodeSystemInfo = NodeSystemInfo()


class Node(_Named, frozen=True):
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


class ContainerStateWaiting(_Object, frozen=True):
    reason: str = ""
    message: str = ""


class ContainerStateTerminated(_Object, frozen=True):
    reason: str = ""
    message: str = ""
    exit_code: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(_Object, frozen=True):
    waiting: ContainerStateWaiting | None = None
    terminated: ContainerStateTerminated | None = None
    running: dict[str, Any] | None = None


class ContainerStatus(_Object, frozen=True):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class Toleration(_Object, frozen=True):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class PersistentVolumeClaimVolume(_Object, frozen=True):
    claim_name: str = ""


class Volume(_Object, frozen=True):
    """core/v1 Volume: where it stands for a claim, by name or (`ephemeral`) of the pod's own."""

    name: str = ""
    persistent_volume_claim: PersistentVolumeClaimVolume | None = None
    ephemeral: dict[str, Any] | None = None


class PodSpec(_Object, frozen=True):
    node_name: str = ""
    priority_class_name: str = ""
    priority: int | None = None
    termination_grace_period_seconds: int | None = None
    tolerations: tuple[Toleration, ...] = ()
    volumes: tuple[Volume, ...] = ()


class PodStatus(_Object, frozen=True):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    start_time: datetime | None = None
    pod_ip: str = msgspec.field(default="", name="podIP")


class Pod(_Named, frozen=True):
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ended(self) -> bool:
        """Whether it is in a phase from which no pod comes back."""
        return self.status.phase in ("Succeeded", "Failed")


class StatefulSetSpec(_Object, frozen=True):
    replicas: int = 1


class StatefulSetStatus(_Object, frozen=True):
    replicas: int = 0
    ready_replicas: int = 0
    observed_generation: int = 0


class StatefulSet(_Named, frozen=True):
    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class ControllerRevision(_Named, frozen=True):
    """apps/v1 ControllerRevision, without its data: that is for those who go back to it."""

    revision: int = 0


class ConfigMap(_Named, frozen=True):
    data: dict[str, str] = {}


class Secret(_Named, frozen=True):
    """Its values are in no repr, and so in no log or traceback."""

    type: str = ""
    data: dict[str, str] = {}

    def __repr__(self) -> str:
        where = f"{self.metadata.namespace}/{self.metadata.name}"
        return f"Secret({where!r}, keys={sorted(self.data)})"


class VolumeAttachmentSource(_Object, frozen=True):
    persistent_volume_name: str = ""


class VolumeAttachmentSpec(_Object, frozen=True):
    node_name: str = ""
    source: VolumeAttachmentSource = VolumeAttachmentSource()


class VolumeAttachment(_Named, frozen=True):
    spec: VolumeAttachmentSpec = VolumeAttachmentSpec()


class PersistentVolumeClaimSpec(_Object, frozen=True):
    access_modes: tuple[str, ...] = ()
    volume_name: str = ""
    resources: dict[str, Any] = {}


class PersistentVolumeClaimStatus(_Object, frozen=True):
    capacity: dict[str, str] = {}


class PersistentVolumeClaim(_Named, frozen=True):
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


class Namespace(_Named, frozen=True):
    pass


class ScopeRequirement(_Object, frozen=True):
    """core/v1 ScopedResourceSelectorRequirement."""

    scope_name: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class ScopeSelector(_Object, frozen=True):
    match_expressions: tuple[ScopeRequirement, ...] = ()


class ResourceQuotaSpec(_Object, frozen=True):
    hard: dict[str, str] = {}
    scopes: tuple[str, ...] = ()
    scope_selector: ScopeSelector | None = None


class ResourceQuotaStatus(_Object, frozen=True):
    hard: dict[str, str] = {}
    used: dict[str, str] = {}


class ResourceQuota(_Named, frozen=True):
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()


class LimitRangeItem(_Object, frozen=True):
    type: str = ""
    default: dict[str, str] = {}
    default_request: dict[str, str] = {}


class LimitRangeSpec(_Object, frozen=True):
    limits: tuple[LimitRangeItem, ...] = ()


class LimitRange(_Named, frozen=True):
    spec: LimitRangeSpec = LimitRangeSpec()


class LeaseSpec(_Object, frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int | None = None


class Lease(_Named, frozen=True):
    spec: LeaseSpec = LeaseSpec()


class WebhookClientConfig(_Object, frozen=True):
    ca_bundle: str = ""


class WebhookEntry(_Object, frozen=True):
    name: str
    client_config: WebhookClientConfig = WebhookClientConfig()


class WebhookConfiguration(_Named, frozen=True):
    """Validating or mutating: whom the API server trusts to be the webhook."""

    webhooks: tuple[WebhookEntry, ...] = ()


class Unstructured(_Named, frozen=True):
    """An object kept whole: what we applied, to be compared with what we would apply now."""

    spec: Manifest = {}
    status: Manifest = {}


def manifest_of(found: Unstructured, kind: Resource[Any]) -> Manifest:
    """The object as the API server shows it; kind and version are not kept with it."""
    built: Manifest = msgspec.to_builtins(found)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **built}


EVENTS = Resource("", "v1", "Event", "events", Unstructured)
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases", Lease)
NODES = Resource("", "v1", "Node", "nodes", Node, namespaced=False)
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", Namespace, namespaced=False)
PODS = Resource("", "v1", "Pod", "pods", Pod)
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", ConfigMap)
SECRETS = Resource("", "v1", "Secret", "secrets", Secret)
SERVICES = Resource("", "v1", "Service", "services", Unstructured)
CSI_DRIVERS = Resource(
    "storage.k8s.io", "v1", "CSIDriver", "csidrivers", Unstructured, namespaced=False
)
CONTROLLER_REVISIONS = Resource(
    "apps", "v1", "ControllerRevision", "controllerrevisions", ControllerRevision
)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    Unstructured,
    namespaced=False,
)
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments", Unstructured)
STATEFUL_SETS = Resource("apps", "v1", "StatefulSet", "statefulsets", StatefulSet)
JOBS = Resource("batch", "v1", "Job", "jobs", Unstructured)
PERSISTENT_VOLUME_CLAIMS = Resource(
    "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", PersistentVolumeClaim
)
RESOURCE_QUOTAS = Resource("", "v1", "ResourceQuota", "resourcequotas", ResourceQuota)
LIMIT_RANGES = Resource("", "v1", "LimitRange", "limitranges", LimitRange)
NETWORK_POLICIES = Resource(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", Unstructured
)
VOLUME_ATTACHMENTS = Resource(
    "storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", VolumeAttachment, False
)
VALIDATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    WebhookConfiguration,
    namespaced=False,
)
MUTATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    WebhookConfiguration,
    namespaced=False,
)


def all_kinds() -> list[Resource[Any]]:
    """Every kind of this module."""
    return [value for value in globals().values() if isinstance(value, Resource)]
