"""What the operator of the provisioner may set. Values only: `__main__` reads the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudproviders.provider import GroupKind
from kube import apiaddress, otlp

DEFAULT_LEASE = "gpu-provisioner-leader-election"
"""That of the chart's release `gpu-provisioner`."""

SHARED_PREFIXES = {"arc": ("AZURE_",), "azure": ("ARM_", "LOCATION")}
"""Clouds that are told more than what has their own prefix: Azure's webhook for workload identity
knows one spelling only, and the Go gpu-provisioner's manifests have ARM_… and LOCATION."""


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds. Karpenter's values where it has them. Of the three time limits of a claim's life, 0
    or less is none."""

    launch_timeout: float = 5 * 60.0
    registration_timeout: float = 15 * 60.0
    """A GPU machine may be slower: REGISTRATION_TIMEOUT."""
    initialization_timeout: float = 10 * 60.0
    """From registered to allocatable GPU, which Karpenter lets take for ever."""
    instance_poll: float = 5.0
    drain_poll: float = 1.0
    drain_poll_cap: float = 10.0
    min_drain: float = 5.0
    garbage_collection: float = 2 * 60.0
    garbage_grace: float = 30.0
    """Younger instances are never collected: their claim may not have been seen yet."""
    gpu_toleration: float = 10 * 60.0
    """How long a node may have fewer GPUs than its instance type before it is repaired."""
    repair_blocked: float = 5 * 60.0
    """Until a repair that the brake has stopped is looked at again."""
    drift: float = 5 * 60.0
    instance_type_drift_age: float = 60 * 60.0
    consistency: float = 10 * 60.0
    pod_events: float = 10.0
    """Within which a second pod event of a claim is not written."""
    node_class: float = 5 * 60.0
    """Between two looks at what a node class stands for in the cloud."""
    static_pool: float = 60.0
    static_pool_limited: float = 30.0
    static_pool_backoff: tuple[float, float] = (10.0, 10 * 60.0)
    """First and longest pause of a static pool whose claims keep being given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One provisioner, for one cloud."""

    cloud: str
    cloud_settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The cloud's own, by name (LOCAL_MACHINES_URL …)."""
    node_classes: tuple[GroupKind, ...] = ()
    """Whose claims are ours; none: those of the cloud."""
    timings: Timings = field(default_factory=Timings)
    workers: int = 100
    repair: bool = True
    """Whether nodes that stay sick are replaced: NODE_REPAIR."""
    kubeconfig: str | None = None
    api_server: str = apiaddress.service_address({})
    """Its address, where there is no kubeconfig."""
    metrics_port: int = 8080
    health_port: int = 8081
    leader_election: bool = True
    lease_name: str = DEFAULT_LEASE
    namespace: str = "gpu-provisioner"
    identity: str = ""
    log_level: str = "INFO"
    debug_port: int = 0
    """On loopback; 0 is none."""
    tracing: otlp.Options | None = None


def from_environment(environment: Mapping[str, str]) -> Settings:
    """ValueError, naming the variable, where one is missing or is none of its values."""
    if not (cloud := environment.get("CLOUD_PROVIDER", "")):
        raise ValueError("CLOUD_PROVIDER must be set")
    prefixes = (f"{cloud.upper()}_", *SHARED_PREFIXES.get(cloud, ()))
    return Settings(
        cloud=cloud,
        cloud_settings={
            name: value for name, value in environment.items() if name.startswith(prefixes)
        },
        node_classes=_node_classes(environment),
        timings=_timings(environment),
        workers=int(_number(environment, "WORKERS", 100)),
        repair=_flag(environment, "NODE_REPAIR", True),
        kubeconfig=environment.get("KUBECONFIG") or None,
        api_server=apiaddress.service_address(environment),
        metrics_port=int(_number(environment, "METRICS_PORT", 8080)),
        health_port=int(_number(environment, "HEALTH_PROBE_PORT", 8081)),
        leader_election=_flag(environment, "LEADER_ELECT", True),
        lease_name=environment.get("LEADER_ELECTION_NAME") or DEFAULT_LEASE,
        namespace=environment.get("POD_NAMESPACE") or "gpu-provisioner",
        identity=environment.get("POD_NAME", ""),
        log_level=environment.get("LOG_LEVEL", "info").upper(),
        debug_port=int(_number(environment, "DEBUG_PORT", 0)),
        tracing=otlp.options(environment),
    )


def _timings(environment: Mapping[str, str]) -> Timings:
    """The time limits, and how long a node may lack GPUs; the rest is nobody's business."""
    return Timings(
        launch_timeout=_limit(environment, "LAUNCH_TIMEOUT", Timings.launch_timeout),
        registration_timeout=_limit(
            environment, "REGISTRATION_TIMEOUT", Timings.registration_timeout
        ),
        initialization_timeout=_limit(
            environment, "INITIALIZATION_TIMEOUT", Timings.initialization_timeout
        ),
        gpu_toleration=_number(environment, "GPU_REPAIR_TOLERATION", Timings.gpu_toleration),
    )


def _node_classes(environment: Mapping[str, str]) -> tuple[GroupKind, ...]:
    """`EC2NodeClass.karpenter.k8s.aws,KaitoNodeClass.kaito.sh`, the first one being the default."""
    found = []
    for entry in environment.get("NODE_CLASSES", "").split(","):
        if not (name := entry.strip()):
            continue
        kind, _, group = name.partition(".")
        if not (kind and group):
            raise ValueError(f"NODE_CLASSES must list Kind.group, not {name!r}")
        found.append(GroupKind(group, kind))
    return tuple(found)


def _limit(environment: Mapping[str, str], name: str, default: float) -> float:
    """Seconds; below zero is no limit, as zero is."""
    if environment.get(name, "").startswith("-"):
        return 0.0 * _number({name: environment[name][1:]}, name, default)
    return _number(environment, name, default)


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    """Seconds or a count; not below zero."""
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of at least 0, not {text!r}")
    return value


def _flag(environment: Mapping[str, str], name: str, default: bool) -> bool:
    text = environment.get(name, "").lower()
    if text not in {"", "true", "false"}:
        raise ValueError(f"{name} must be true or false, not {text!r}")
    return text == "true" if text else default
