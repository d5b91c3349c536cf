"""On which nodes pods may run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Reach:
    """Nodes: those that any of `terms` (core/v1 NodeSelectorTerm) describes, or any node where
    there is none. Of them those that a term of `first` describes are taken first."""

    terms: tuple[Manifest, ...] = ()
    first: tuple[Manifest, ...] = ()


def labelled(wanted: Mapping[str, str], *, without: Iterable[str] = ()) -> Manifest:
    """The nodes with all these labels, and with none of those keys."""
    return {
        "matchExpressions": [
            *({"key": key, "operator": "In", "values": [wanted[key]]} for key in sorted(wanted)),
            *({"key": key, "operator": "DoesNotExist"} for key in without),
        ]
    }


def named(node: str, wanted: Mapping[str, str] | None = None) -> Manifest:
    """The node of that name, if it has these labels too. A term takes no second name."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {**(labelled(wanted) if wanted else {}), "matchFields": [field]}


def node_affinity(reach: Reach) -> Manifest | None:
    """Only nodes within reach; None where any node will do."""
    affinity: Manifest = {}
    if reach.terms:
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": list(reach.terms)
        }
    if reach.first:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": 100, "preference": term} for term in reach.first
        ]
    return affinity or None


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
