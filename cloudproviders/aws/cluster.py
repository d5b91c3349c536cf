"""The EKS cluster that nodes join."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cloudproviders.aws.coalescing import Remembered
from cloudproviders.aws.sdk import Amazon
from kube.clock import Clock

TTL_SECONDS = 5 * 60.0
DNS_HOST = 10
"""EKS puts the cluster's DNS at the tenth address of the service range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What a node must know. `ca` is base64 of PEM, as EKS tells it; `version` such as 1.33."""

    name: str
    endpoint: str
    ca: str
    cidr: str
    version: str
    ipv6: bool = False

    @property
    def dns(self) -> str:
        """The address of the cluster's DNS."""
        return str(ipaddress.ip_network(self.cidr)[DNS_HOST]) if self.cidr else ""


class Clusters:
    """By name; asked for again every five minutes, since clusters are upgraded."""

    def __init__(self, amazon: Amazon, clock: Clock) -> None:
        self._amazon = amazon
        self.get = Remembered(self._describe, TTL_SECONDS, clock)

    async def close(self) -> None:
        await self.get.close()

    async def _describe(self, name: str) -> Cluster:
        wire = (await self._amazon.call("describe_cluster", name=name))["cluster"]
        network = wire.get("kubernetesNetworkConfig", {})
        ipv6 = network.get("ipFamily") == "ipv6"
        return Cluster(
            name=name,
            endpoint=wire.get("endpoint", ""),
            ca=wire.get("certificateAuthority", {}).get("data", ""),
            cidr=network.get("serviceIpv6Cidr" if ipv6 else "serviceIpv4Cidr", ""),
            version=wire.get("version", ""),
            ipv6=ipv6,
        )
