"""What our pods may do: compute, listen on a port or send requests, and nothing else."""

from __future__ import annotations

from kube.meta import Manifest

_USER = 65532
"""Of our images."""

WRITES: Manifest = {"fsGroup": _USER, "fsGroupChangePolicy": "OnRootMismatch"}
"""Beside a pod's security context, where a container of ours writes to volumes of the user's."""


def pod() -> Manifest:
    """Fields of the pod's spec. No token for the API server, which engines never ask; and no
    variables for other Services: one called `vllm` would set VLLM_PORT, which vLLM reads."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }


def unprivileged() -> Manifest:
    """The least of any container, whoever it runs as."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def serving(*, known_image: bool) -> Manifest:
    """The security context of the serving container. Whom an image of the user's own runs as, that
    image alone knows."""
    if not known_image:
        return unprivileged()
    return {**unprivileged(), "runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": _USER}


def errand() -> Manifest:
    """That of a container of ours that only sends requests."""
    return {**serving(known_image=True), "readOnlyRootFilesystem": True}
