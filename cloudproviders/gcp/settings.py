"""What the operator of the provisioner sets for Google Cloud: `GCP_…`, checked at the start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cloudproviders.errors import CloudConfigurationError

CONTAINER_ENDPOINT = "https://container.googleapis.com"
COMPUTE_ENDPOINT = "https://compute.googleapis.com"

DRIVERS = {"default": "DEFAULT", "latest": "LATEST", "disabled": "INSTALLATION_DISABLED"}
"""As GCENodeClass spells it → GPUDriverInstallationConfig.GPUDriverVersion of container/v1."""

IMAGES = {"cos": "COS_CONTAINERD", "ubuntu": "UBUNTU_CONTAINERD"}
"""GCP_IMAGE → NodeConfig.imageType of container/v1."""

_PROJECT = re.compile(r"^([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]$")
_ZONE = re.compile(r"^[a-z]+(-[a-z]+)+[0-9]+-[a-z]$")
_REGION = re.compile(r"^[a-z]+(-[a-z]+)+[0-9]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpSettings:
    """One GKE cluster. Seconds where nothing else is said."""

    project: str
    location: str
    """The cluster's: a region or, of a zonal cluster, a zone."""
    cluster: str
    zones: tuple[str, ...] = ()
    """Where machines may stand; empty: where the cluster has nodes."""
    service_account: str = ""
    gpu_driver: str = "DEFAULT"
    image_type: str = "COS_CONTAINERD"
    disk_type: str = ""
    """Of boot disks; empty: what the machine family takes."""
    network_tags: tuple[str, ...] = ()
    reservations: tuple[str, ...] = ()
    """Names of the project's own, for claims that take `reserved`; needs `compute`."""
    flex_start: bool = False
    max_run_duration: int = 0
    """0: for ever."""
    concurrent_operations: int = 5
    """Node pool operations at a time: GKE's quota for one cluster. What the cluster grants may be
    less, which is learnt."""
    provisioning_timeout: float = 600.0
    """From a node pool's creation to its Node; longer counts as a stock-out."""
    compute: bool = True
    """Whether Compute Engine is asked which zones sell a machine type, and for reservations."""
    endpoint: str = CONTAINER_ENDPOINT
    compute_endpoint: str = COMPUTE_ENDPOINT
    token_file: str = ""
    """A bearer token, read on every call, in place of Google's default credentials."""

    @property
    def parent(self) -> str:
        """The cluster's name in container/v1."""
        return f"projects/{self.project}/locations/{self.location}/clusters/{self.cluster}"


def from_settings(settings: Mapping[str, str]) -> GcpSettings:
    """CloudConfigurationError, with the variable and the remedy, where something cannot work."""
    missing = [
        name
        for name in ("GCP_PROJECT", "GCP_LOCATION", "GCP_CLUSTER_NAME")
        if not settings.get(name)
    ]
    if missing:
        raise CloudConfigurationError(
            f"cloud provider gcp needs {' and '.join(missing)}: the cluster as"
            " `gcloud container clusters list` shows it"
        )
    return GcpSettings(
        project=_matching(settings, "GCP_PROJECT", _PROJECT, "a project id"),
        location=_location(settings["GCP_LOCATION"]),
        cluster=settings["GCP_CLUSTER_NAME"],
        zones=_zones(settings),
        service_account=settings.get("GCP_SERVICE_ACCOUNT", ""),
        gpu_driver=_one_of(settings, "GCP_GPU_DRIVER", DRIVERS, "default"),
        image_type=_one_of(settings, "GCP_IMAGE", IMAGES, "cos"),
        disk_type=settings.get("GCP_DISK_TYPE", ""),
        network_tags=_listed(settings, "GCP_NETWORK_TAGS"),
        reservations=_listed(settings, "GCP_RESERVATIONS"),
        flex_start=_flag(settings, "GCP_FLEX_START", default=False),
        max_run_duration=int(_number(settings, "GCP_MAX_RUN_SECONDS", 0)),
        concurrent_operations=max(1, int(_number(settings, "GCP_CONCURRENT_OPERATIONS", 5))),
        provisioning_timeout=_number(settings, "GCP_PROVISIONING_TIMEOUT", 600),
        compute=_flag(settings, "GCP_COMPUTE", default=True),
        endpoint=_url(settings, "GCP_ENDPOINT", CONTAINER_ENDPOINT),
        compute_endpoint=_url(settings, "GCP_COMPUTE_ENDPOINT", COMPUTE_ENDPOINT),
        token_file=settings.get("GCP_TOKEN_FILE", ""),
    )


def _matching(settings: Mapping[str, str], name: str, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.match(settings[name]):
        raise CloudConfigurationError(f"{name} is not {what}: {settings[name]!r}")
    return settings[name]


def _location(location: str) -> str:
    if not (_ZONE.match(location) or _REGION.match(location)):
        raise CloudConfigurationError(
            f"GCP_LOCATION is neither a region (us-central1) nor a zone (us-central1-a):"
            f" {location!r}"
        )
    return location


def _zones(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Pools of a cluster stand in its region."""
    zones = _listed(settings, "GCP_ZONES")
    location = settings["GCP_LOCATION"]
    region = location.rsplit("-", 1)[0] if _ZONE.match(location) else location
    for zone in zones:
        if not _ZONE.match(zone) or zone.rsplit("-", 1)[0] != region:
            raise CloudConfigurationError(f"GCP_ZONES: {zone!r} is no zone of {region}")
    return zones


def _listed(settings: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in settings.get(name, "").split(",") if each.strip())


def _one_of(
    settings: Mapping[str, str], name: str, allowed: Mapping[str, str], default: str
) -> str:
    value = (settings.get(name) or default).lower()
    if value not in allowed:
        raise CloudConfigurationError(f"{name} is {value!r}, not one of {', '.join(allowed)}")
    return allowed[value]


def _number(settings: Mapping[str, str], name: str, default: float) -> float:
    text = settings.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise CloudConfigurationError(f"{name} must be a number of at least 0, not {text!r}")
    return number


def _flag(settings: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = settings.get(name, "").lower()
    if text not in {"", "true", "false"}:
        raise CloudConfigurationError(f"{name} must be true or false, not {text!r}")
    return text == "true" if text else default


def _url(settings: Mapping[str, str], name: str, default: str) -> str:
    url = settings.get(name) or default
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise CloudConfigurationError(f"{name} is no http or https address: {url!r}")
    return url.rstrip("/")
