"""What the program was told, as frozen values: read once by `__main__`, handed down from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from apis.kaito.validation import Facts
from apis.kaito.validation.facts import AZURE_GPU_PROVISIONER, BYO, KARPENTER, NODECLAIM
from cloudproviders.profile import CloudProfile
from kube import apiaddress, otlp, quantity
from kube.meta import Manifest
from presets.catalog import Catalog
from presets.estimate import ESTIMATORS, Estimator
from workspace_controller.manifests import networkpolicy
from workspace_controller.nodes import classes
from workspace_controller.nodes.classes import NodeClasses
from workspace_controller.nodes.provisioner import NodeProvisioner

PROVISIONERS = (NODECLAIM, AZURE_GPU_PROVISIONER, KARPENTER, BYO)
"""NODE_PROVISIONER: the first is the default, the second upstream's word for the same."""

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no", ""})
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")


class SettingsError(ValueError):
    """The environment asks for what cannot be; the message names the variable."""


DEFAULT_LEASE = "workspace-leader-election"
"""That of the chart's release `workspace`."""
WEIGHTS_CACHES = ("node", "pod", "nvme")
"""WEIGHTS_CACHE: the first is the default."""
WEIGHTS_CACHE_PATH = "/var/lib/kaito/weights"
IMAGE_VOLUMES = ("auto", "true", "false")


@dataclass(frozen=True, slots=True)
class WeightsSettings:
    """What the installation offers for weights."""

    cache: str = WEIGHTS_CACHES[0]
    """Where downloads are kept: `node`, once for all its pods; `pod`; `nvme`, else as `node`."""
    cache_path: str = WEIGHTS_CACHE_PATH
    """The directory on each node."""
    image_volumes: str = IMAGE_VOLUMES[0]
    """Whether pods can mount images: `true`, `false`, or `auto`, as their nodes can."""
    endpoint: str = ""
    """A mirror of huggingface.co."""
    offline: bool = False
    """Whether the controller asks no hub for anything."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decisions depend on, beside the objects themselves."""

    nodes: NodeProvisioner
    cloud: CloudProfile
    catalog: Catalog
    facts: Facts
    registry: str
    image_tag: str
    weights: WeightsSettings = WeightsSettings()
    insecure_registries: str = ""
    """Those without TLS, as host:port separated by commas; for pods that pull or push."""
    estimator: Estimator = "fit"
    """What node counts and engine flags are worked out by."""
    benchmark: bool = True
    """Measure what is served on GPUs, once for each kind of pod."""
    pod_logs: bool = True
    """Read in the logs of pods how far they are."""
    node_classes: NodeClasses | None = None
    """What NodePools are made from; None where there are none."""
    gpu_quota: int | None = None
    """How many GPUs a namespace may ask for that does not say; None where that is its affair."""
    endpoint_peers: tuple[Manifest, ...] | None = None
    """NetworkPolicyPeers that reach endpoints beside their own namespace; None: everybody does."""


@dataclass(frozen=True, slots=True)
class Process:
    """What the process itself needs. Ports are 0 where a free one is to be taken."""

    cloud: str
    provisioner: str
    registry: str
    image_tag: str
    weights: WeightsSettings
    insecure_registries: str
    estimator: Estimator
    benchmark: bool
    pod_logs: bool
    gates: Mapping[str, bool]
    kubeconfig: str
    api_server: str
    """Its address, where there is no kubeconfig."""
    namespace: str
    pod_name: str
    leader_elect: bool
    lease_name: str
    webhook: bool
    webhook_port: int
    webhook_service: str
    webhook_cert_dir: str
    webhook_cert_secret: str
    shutdown_delay: float
    metrics_port: int
    health_port: int
    log_level: str
    node_classes: NodeClasses | None = None
    gpu_quota: int | None = None
    endpoint_peers: tuple[Manifest, ...] | None = None
    debug_port: int = 0
    """On loopback; 0 is none."""
    tracing: otlp.Options | None = None


RAG_ENGINE_GATE = "enableRAGEngine"

GATES: Mapping[str, bool] = {
    "vLLM": True,
    "disableNodeAutoProvisioning": False,
    "gatewayAPIInferenceExtension": False,
    "enableInferenceSetController": True,
    "enableMIG": False,
    "enableAccelerator": False,
    "enableMultiRoleInferenceController": False,
    "ModelMirror": False,
    "ModelStreaming": False,
    "enableBaseImageAutoUpgrade": False,
    RAG_ENGINE_GATE: True,
}
"""Upstream's feature gates with its defaults, so that its charts' values stay valid; the last is
ours: upstream has a chart and a program of its own for RAGEngines."""


def process(environment: Mapping[str, str]) -> Process:
    """From the environment; raises SettingsError where it is wrong."""
    provisioner = environment.get("NODE_PROVISIONER") or PROVISIONERS[0]
    if provisioner not in PROVISIONERS:
        raise SettingsError(
            f"NODE_PROVISIONER is {provisioner!r}; one of: {', '.join(PROVISIONERS)}"
        )
    gates = feature_gates(environment.get("FEATURE_GATES", ""))
    if gates["disableNodeAutoProvisioning"]:
        provisioner = BYO
    return Process(
        cloud=environment.get("CLOUD_PROVIDER") or "azure",
        provisioner=provisioner,
        registry=(environment.get("PRESET_REGISTRY_NAME") or "localhost").rstrip("/"),
        image_tag=environment.get("SERVING_IMAGE_TAG") or "0.1.0",
        weights=_weights(environment),
        insecure_registries=_hosts(environment, "INSECURE_REGISTRIES"),
        estimator=_estimator(environment.get("ESTIMATOR") or "fit"),
        benchmark=_boolean(environment, "BENCHMARK", True),
        pod_logs=_boolean(environment, "POD_LOGS", True),
        gates=gates,
        kubeconfig=environment.get("KUBECONFIG", ""),
        api_server=apiaddress.service_address(environment),
        namespace=environment.get("POD_NAMESPACE") or "kaito-workspace",
        pod_name=environment.get("POD_NAME", ""),
        leader_elect=_boolean(environment, "LEADER_ELECT", False),
        lease_name=environment.get("LEADER_ELECTION_NAME") or DEFAULT_LEASE,
        webhook=_boolean(environment, "WEBHOOK", True),
        webhook_port=_port(environment, "WEBHOOK_PORT", 9443),
        webhook_service=environment.get("WEBHOOK_SERVICE") or "workspace",
        webhook_cert_dir=environment.get("WEBHOOK_CERT_DIR", ""),
        webhook_cert_secret=environment.get("WEBHOOK_CERT_SECRET") or "workspace-webhook-cert",
        shutdown_delay=_seconds(environment, "SHUTDOWN_DELAY", 5.0),
        metrics_port=_port(environment, "METRICS_PORT", 8080),
        health_port=_port(environment, "HEALTH_PROBE_PORT", 8081),
        log_level=(environment.get("LOG_LEVEL") or "info").upper(),
        node_classes=_node_classes(environment) if provisioner == KARPENTER else None,
        gpu_quota=_gpu_quota(environment),
        endpoint_peers=_endpoint_peers(environment),
        debug_port=_port(environment, "DEBUG_PORT", 0),
        tracing=_tracing(environment),
    )


def _tracing(environment: Mapping[str, str]) -> otlp.Options | None:
    try:
        return otlp.options(environment)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _gpu_quota(environment: Mapping[str, str]) -> int | None:
    text = environment.get("DEFAULT_GPU_QUOTA", "").strip()
    if not text:
        return None
    found = quantity.count(text[:10])
    if found is None:
        raise SettingsError(f"DEFAULT_GPU_QUOTA is {text!r}; a whole number of GPUs, or nothing")
    return found


def _endpoint_peers(environment: Mapping[str, str]) -> tuple[Manifest, ...] | None:
    text = environment.get("ENDPOINT_NETWORK_POLICY", "").strip()
    if not text:
        return None
    try:
        return networkpolicy.peers(text)
    except ValueError as error:
        raise SettingsError(f"ENDPOINT_NETWORK_POLICY {error}") from error


def _estimator(name: str) -> Estimator:
    for known in ESTIMATORS:
        if name == known:
            return known
    raise SettingsError(f"ESTIMATOR is {name!r}; one of: {', '.join(ESTIMATORS)}")


def feature_gates(text: str) -> dict[str, bool]:
    """`vLLM=true,enableMIG=false`; an unknown gate is an error, as upstream has it."""
    gates = dict(GATES)
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = entry.partition("=")
        if not equals:
            raise SettingsError(f"FEATURE_GATES: {entry!r} is not of the form gate=true")
        if name not in gates:
            raise SettingsError(
                f"FEATURE_GATES: unknown gate {name!r}; one of: {', '.join(sorted(gates))}"
            )
        gates[name] = _truth(f"FEATURE_GATES: {name}", value)
    return gates


def _weights(environment: Mapping[str, str]) -> WeightsSettings:
    path = environment.get("WEIGHTS_CACHE_PATH", "").rstrip("/") or WEIGHTS_CACHE_PATH
    if not path.startswith("/") or "/.." in path:
        raise SettingsError(f"WEIGHTS_CACHE_PATH is {path!r}; an absolute path on the nodes")
    return WeightsSettings(
        cache=_choice(environment, "WEIGHTS_CACHE", WEIGHTS_CACHES),
        cache_path=path,
        image_volumes=_choice(environment, "IMAGE_VOLUMES", IMAGE_VOLUMES),
        endpoint=environment.get("HF_ENDPOINT", "").rstrip("/"),
        offline=_boolean(environment, "HF_HUB_OFFLINE", False),
    )


def _hosts(environment: Mapping[str, str], name: str) -> str:
    """`host:port,host`, without spaces."""
    hosts = [each.strip() for each in environment.get(name, "").split(",") if each.strip()]
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise SettingsError(f"{name} has {host!r}; write host:port, separated by commas")
    return ",".join(hosts)


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The first where nothing is said."""
    value = environment.get(name) or choices[0]
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; one of: {', '.join(choices)}")
    return value


def _node_classes(environment: Mapping[str, str]) -> NodeClasses:
    """Upstream's defaults are Azure's."""
    try:
        given = classes.parse(environment.get("KARPENTER_NODE_CLASSES", ""))
    except ValueError as error:
        raise SettingsError(f"KARPENTER_NODE_CLASSES {error}") from error
    return NodeClasses(
        group=environment.get("KARPENTER_NODE_CLASS_GROUP") or "karpenter.azure.com",
        kind=environment.get("KARPENTER_NODE_CLASS_KIND") or "AKSNodeClass",
        version=environment.get("KARPENTER_NODE_CLASS_VERSION") or "v1beta1",
        resource_name=environment.get("KARPENTER_NODE_CLASS_RESOURCE_NAME") or "aksnodeclasses",
        classes=given,
    )


def _boolean(environment: Mapping[str, str], name: str, default: bool) -> bool:
    value = environment.get(name)
    return default if value is None else _truth(name, value)


def _truth(name: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise SettingsError(f"{name} is {value!r}; true or false")


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 600:
        raise SettingsError(f"{name} is {text!r}; seconds between 0 and 600")
    return value


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdigit() or int(text) > 65535:
        raise SettingsError(f"{name} is {text!r}; a port between 0 and 65535")
    return int(text)
