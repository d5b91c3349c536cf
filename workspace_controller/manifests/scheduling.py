"""On which nodes pods may run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apis.kaito.v1beta1 import labels
from apis.karpenter.v1.labels import HOSTNAME_LABEL
from kube.meta import Manifest

_GPU_TOLERATION = {"key": labels.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}
_SKU_TOLERATION = {
    "key": labels.SKU_TAINT_KEY,
    "operator": "Equal",
    "value": labels.SKU_TAINT_VALUE,
    "effect": "NoSchedule",
}


def node_affinity(wanted: Mapping[str, str]) -> Manifest | None:
    """Only nodes with all these labels; None where any node will do."""
    if not wanted:
        return None
    expressions = [
        {"key": key, "operator": "In", "values": [wanted[key]]} for key in sorted(wanted)
    ]
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": expressions}]
        }
    }


def apart(pod_labels: Mapping[str, str]) -> Manifest:
    """One pod a node: the estimate gives each the whole node."""
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": dict(pod_labels)}, "topologyKey": HOSTNAME_LABEL}
        ]
    }


def tolerations(of_cloud: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Those that GPU nodes ask for, and those of the cloud's own taints."""
    return [_GPU_TOLERATION.copy(), _SKU_TOLERATION.copy(), *(dict(each) for each in of_cloud)]
