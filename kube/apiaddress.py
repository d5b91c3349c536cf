"""Where a pod finds the API server: pure, for the settings of programs to be made with."""

from __future__ import annotations

from collections.abc import Mapping

BY_NAME = "https://kubernetes.default.svc"
"""Where kubelet has said nothing."""


def service_address(environment: Mapping[str, str]) -> str:
    """What kubelet tells each pod, an address, as every client-go program takes it: the name needs
    the cluster's DNS, which a pod on the host's network may not ask, and whose pods may themselves
    wait for a node. The API server's certificate has both."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "")
    if not (host and port):
        return BY_NAME
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
