"""What the operator says of an AKS cluster. Values only; `sdk` and `agentpools` use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloudproviders.errors import CloudConfigurationError

WORKLOAD_IDENTITY = "workload-identity"
SERVICE_PRINCIPAL = "service-principal"
MANAGED_IDENTITY = "managed-identity"
CLI = "cli"
AUTHS = (WORKLOAD_IDENTITY, SERVICE_PRINCIPAL, MANAGED_IDENTITY, CLI)

CLOUDS = {
    "public": "AZURE_PUBLIC_CLOUD",
    "china": "AZURE_CHINA_CLOUD",
    "usgovernment": "AZURE_US_GOVERNMENT",
}
"""What AZURE_CLOUD may be → azure.core's name (azure.core.AzureClouds)."""

_REQUIRED = (
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_RESOURCE_GROUP",
    "AZURE_CLUSTER_NAME",
    "AZURE_LOCATION",
)


_PREDECESSORS = {
    "AZURE_SUBSCRIPTION_ID": "ARM_SUBSCRIPTION_ID",
    "AZURE_RESOURCE_GROUP": "ARM_RESOURCE_GROUP",
    "AZURE_LOCATION": "LOCATION",
}
"""Ours → the name by which the Go gpu-provisioner knows it, which is good too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom to be. What a kind of credential needs is set; the rest is ""."""

    auth: str
    tenant: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    token_file: str = ""
    authority: str = ""
    """Host of Microsoft Entra, where it is not the cloud's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """One AKS cluster and how its machines are made."""

    subscription: str
    resource_group: str
    cluster: str
    location: str
    identity: Identity
    cloud: str = CLOUDS["public"]
    endpoint: str = ""
    """Of Resource Manager, where it is not the cloud's own (Azure Stack, an emulator)."""
    ca_file: Path | None = None
    """PEM of whom to trust besides the system's authorities."""
    api_version: str = ""
    """Of the agent pools; "" is the SDK's."""
    zones: tuple[str, ...] = ()
    """Of the region, as numbers; machines are spread over none where there are none."""
    subnet: str = ""
    pod_subnet: str = ""
    os_disk_type: str = ""
    gpu_driver: str = "Install"
    reservations: Mapping[str, str] = field(default_factory=dict)
    """VM size → id of the capacity reservation group that holds machines of it."""
    tags: Mapping[str, str] = field(default_factory=dict)
    max_pools: int = 100
    """Agent pools that a cluster may have (learn.microsoft.com/azure/aks/quotas-skus-regions)."""
    call_seconds: float = 30.0
    """How long one call of Resource Manager may take."""

    @property
    def initialization_taints(self) -> bool:
        """Whether pools can be given taints that somebody else may take off: previews only."""
        return self.api_version.endswith("-preview")


def parse(given: Mapping[str, str]) -> AzureSettings:
    """CloudConfigurationError, naming the variable and the remedy, where this cannot work."""
    given = {**{ours: given.get(theirs, "") for ours, theirs in _PREDECESSORS.items()}, **given}
    missing = [name for name in _REQUIRED if not given.get(name)]
    if missing:
        raise CloudConfigurationError(
            f"cloud provider azure needs {', '.join(missing)}: the AKS cluster to make agent"
            " pools in"
        )
    return AzureSettings(
        subscription=given["AZURE_SUBSCRIPTION_ID"],
        resource_group=given["AZURE_RESOURCE_GROUP"],
        cluster=given["AZURE_CLUSTER_NAME"],
        location=given["AZURE_LOCATION"].lower().replace(" ", ""),
        identity=_identity(given),
        cloud=CLOUDS[_one_of(given, "AZURE_CLOUD", tuple(CLOUDS), "public")],
        endpoint=_endpoint(given),
        ca_file=_file(given, "AZURE_CA_FILE"),
        api_version=given.get("AZURE_API_VERSION", ""),
        zones=_zones(given),
        subnet=given.get("AZURE_VNET_SUBNET_ID", ""),
        pod_subnet=given.get("AZURE_POD_SUBNET_ID", ""),
        os_disk_type=_one_of(given, "AZURE_OS_DISK_TYPE", ("", "Managed", "Ephemeral"), ""),
        gpu_driver=_one_of(given, "AZURE_GPU_DRIVER", ("Install", "None"), "Install"),
        reservations=_pairs(given, "AZURE_CAPACITY_RESERVATIONS"),
        tags=_pairs(given, "AZURE_TAGS"),
        max_pools=_count(given, "AZURE_MAX_AGENT_POOLS", 100),
    )


def _identity(given: Mapping[str, str]) -> Identity:
    auth = _one_of(given, "AZURE_AUTH", AUTHS, _default_auth(given))
    identity = Identity(
        auth=auth,
        tenant=given.get("AZURE_TENANT_ID", ""),
        client_id=given.get("AZURE_CLIENT_ID", ""),
        client_secret=given.get("AZURE_CLIENT_SECRET", ""),
        token_file=given.get("AZURE_FEDERATED_TOKEN_FILE", ""),
        authority=given.get("AZURE_AUTHORITY_HOST", ""),
    )
    needed = {
        WORKLOAD_IDENTITY: ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
        SERVICE_PRINCIPAL: ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"),
    }.get(auth, ())
    if missing := [name for name in needed if not given.get(name)]:
        hint = (
            "; the workload identity webhook sets them where the service account is annotated and"
            " the pod labelled azure.workload.identity/use=true"
            if auth == WORKLOAD_IDENTITY
            else ""
        )
        raise CloudConfigurationError(f"AZURE_AUTH={auth} needs {', '.join(missing)}{hint}")
    return identity


def _default_auth(given: Mapping[str, str]) -> str:
    if given.get("AZURE_CLIENT_SECRET"):
        return SERVICE_PRINCIPAL
    return WORKLOAD_IDENTITY


def _one_of(given: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = given.get(name, "") or default
    for each in allowed:
        if each.casefold() == value.casefold():
            return each
    raise CloudConfigurationError(
        f"{name} is {value!r}; one of: {', '.join(filter(None, allowed))}"
    )


def _endpoint(given: Mapping[str, str]) -> str:
    url = given.get("AZURE_RESOURCE_MANAGER_URL", "").rstrip("/")
    if url and not url.startswith("https://"):
        raise CloudConfigurationError(
            f"AZURE_RESOURCE_MANAGER_URL is {url!r}; tokens are sent over https only"
        )
    return url


def _file(given: Mapping[str, str], name: str) -> Path | None:
    if not (value := given.get(name, "")):
        return None
    if not (path := Path(value)).is_file():
        raise CloudConfigurationError(f"{name}: there is no file {value}")
    return path


def _zones(given: Mapping[str, str]) -> tuple[str, ...]:
    zones = tuple(each.strip() for each in given.get("AZURE_ZONES", "").split(",") if each.strip())
    if wrong := [zone for zone in zones if not zone.isdigit()]:
        raise CloudConfigurationError(f"AZURE_ZONES are numbers such as 1,2,3, not {wrong[0]!r}")
    return zones


def _count(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, "")
    if text and not text.isdigit():
        raise CloudConfigurationError(f"{name} is a count, not {text!r}")
    return int(text or default)


def _pairs(given: Mapping[str, str], name: str) -> dict[str, str]:
    """`a=b,c=d`."""
    found: dict[str, str] = {}
    for entry in filter(None, (each.strip() for each in given.get(name, "").split(","))):
        key, is_pair, value = entry.partition("=")
        if not is_pair or not key:
            raise CloudConfigurationError(f"{name} is a list of name=value, and {entry!r} is none")
        found[key.strip()] = value.strip()
    return found
