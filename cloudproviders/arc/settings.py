"""What the operator says of a cluster on Azure Local. Values only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cloudproviders.azure import settings as azure
from cloudproviders.azure.settings import AzureSettings
from cloudproviders.errors import CloudConfigurationError

POOL_LIMIT = 16
"""Agent pools of a cluster (learn.microsoft.com/azure/aks/aksarc/scale-requirements)."""

_CLUSTER = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/[^/]+/providers"
    r"/Microsoft\.Kubernetes/connectedClusters/(?P<name>[^/]+)",
    re.IGNORECASE,
)
_LOCATION = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers"
    r"/Microsoft\.ExtendedLocation/customLocations/[^/]+",
    re.IGNORECASE,
)
_WEBHOOKS = frozenset(
    {
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
    }
)
_REQUIRED = {
    "ARC_CLUSTER_ID": (_CLUSTER, "az connectedk8s show … --query id"),
    "ARC_CUSTOM_LOCATION_ID": (_LOCATION, "az customlocation show … --query id"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcSettings:
    """One connected cluster, and the site that its machines run on."""

    cluster_id: str
    location_id: str
    cluster: str
    arm: AzureSettings
    """Identity, endpoint, tags and patience: as for AKS, but said with this cloud's prefix."""
    pool_limit: int = POOL_LIMIT


def parse(given: Mapping[str, str]) -> ArcSettings:
    """CloudConfigurationError, naming the variable and the remedy, where this cannot work."""
    ids = {}
    for name, (form, remedy) in _REQUIRED.items():
        found = form.fullmatch(given.get(name, "").rstrip("/"))
        if found is None:
            told = f"is {given[name]!r}, which is no such id" if given.get(name) else "is not set"
            raise CloudConfigurationError(f"cloud provider arc: {name} {told}; try `{remedy}`")
        ids[name] = found
    return ArcSettings(
        cluster_id=ids["ARC_CLUSTER_ID"][0],
        location_id=ids["ARC_CUSTOM_LOCATION_ID"][0],
        cluster=ids["ARC_CLUSTER_ID"]["name"],
        arm=_arm(given, ids["ARC_CLUSTER_ID"]["subscription"]),
        pool_limit=_limit(given),
    )


def _arm(given: Mapping[str, str], subscription: str) -> AzureSettings:
    """From ARC_AUTH, ARC_TENANT_ID, ARC_TAGS …: what AKS calls AZURE_AUTH and so on, and what
    the webhook for workload identity calls so everywhere."""
    shared = {
        **{name: value for name, value in given.items() if name in _WEBHOOKS},
        **{f"AZURE_{name[4:]}": value for name, value in given.items() if name[:4] == "ARC_"},
    }
    unused = {
        "AZURE_SUBSCRIPTION_ID": subscription,
        "AZURE_RESOURCE_GROUP": "-",
        "AZURE_CLUSTER_NAME": "-",
        "AZURE_LOCATION": "-",
    }
    try:
        return azure.parse({**shared, **unused})
    except CloudConfigurationError as error:
        raise CloudConfigurationError(str(error).replace("AZURE_", "ARC_")) from error


def _limit(given: Mapping[str, str]) -> int:
    text = given.get("ARC_POOL_LIMIT", "") or str(POOL_LIMIT)
    if not text.isdigit() or int(text) < 1:
        raise CloudConfigurationError(f"ARC_POOL_LIMIT must be a count of pools, not {text!r}")
    return int(text)
