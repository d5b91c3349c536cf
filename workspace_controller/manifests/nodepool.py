"""The NodePool of an owner, and the node classes it is made from, in KAITO's shape."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from apis.kaito.v1beta1 import labels
from apis.karpenter.v1.labels import CAPACITY_TYPE_LABEL, INSTANCE_TYPE_LABEL
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube.meta import Manifest, Resource
from kube.objects import Unstructured
from workspace_controller import marks
from workspace_controller.manifests import capacity
from workspace_controller.nodes.asking import NodeOwner
from workspace_controller.nodes.classes import NodeClass, NodeClasses
from workspace_controller.nodes.provisioner import NodeShape, user_labels

POOLS: Resource[Unstructured] = Resource(
    NODE_POOLS.group,
    NODE_POOLS.version,
    NODE_POOLS.kind,
    NODE_POOLS.plural,
    Unstructured,
    namespaced=False,
)
"""Kept whole, since what is there is compared with what should be."""

MANAGED_BY = {labels.KARPENTER_MANAGED_BY_LABEL: "kaito"}
DEFAULT_CLASS_LABEL = "karpenter.kaito.sh/default"

_LONGEST_NAME = 63
_KEPT = 53
_REGIONAL = {
    "karpenter.azure.com": {
        "key": "karpenter.azure.com/placement-scope",
        "operator": "In",
        "values": ["regional"],
    }
}
"""By group of the node class: what its provider needs to be told besides."""


def pool_name(owner: NodeOwner) -> str:
    """`<namespace>-<name>`, of a RAGEngine `rag-<namespace>-<name>`: a Workspace may have its name.
    Cut, with nine digits of its hash, where a label could not hold it."""
    prefix = "" if owner.kind == marks.WORKSPACE.kind else "rag-"
    whole = f"{prefix}{owner.metadata.namespace}-{owner.metadata.name}"
    if len(whole) <= _LONGEST_NAME:
        return whole
    return f"{whole[:_KEPT]}-{hashlib.sha256(whole.encode()).hexdigest()[:9]}"


def pool_labels(owner: NodeOwner) -> dict[str, str]:
    """Whose pool, claim and node it is."""
    return marks.of(owner).on_pool(owner)


def node_pool(
    owner: NodeOwner,
    shape: NodeShape,
    classes: NodeClasses,
    node_class: NodeClass,
    replicas: int,
    live: Unstructured | None,
) -> Manifest:
    """Static: as many nodes as `replicas` says, needed or not.

    `expireAfter` is written out, since the CRD's default destroys each node after 30 days. A pool
    that is there keeps its own: every change of the template replaces all nodes of the pool.
    """
    belongs = {**pool_labels(owner), **_set_labels(owner)}
    return {
        "apiVersion": POOLS.api_version,
        "kind": POOLS.kind,
        "metadata": {"name": pool_name(owner), "labels": {**MANAGED_BY, **belongs}},
        "spec": {
            "replicas": replicas,
            "template": {
                "metadata": {"labels": {**_own_labels(owner, live), **belongs}},
                "spec": _node_spec(owner, shape, classes, node_class, live),
            },
            "disruption": {"consolidateAfter": "0s", "budgets": _budgets(owner, live)},
        },
    }


def _own_labels(owner: NodeOwner, live: Unstructured | None) -> dict[str, str]:
    """The user's. The capacity type is a requirement, and comes to the nodes by that; in pools of
    earlier versions it stays the label that it was."""
    wanted = user_labels(owner)
    if not _asks_for_capacity(live):
        return wanted
    return {key: value for key, value in wanted.items() if key != CAPACITY_TYPE_LABEL}


def _node_spec(
    owner: NodeOwner,
    shape: NodeShape,
    classes: NodeClasses,
    node_class: NodeClass,
    live: Unstructured | None,
) -> Manifest:
    """What each of the pool's claims asks for."""
    of_type = {"key": INSTANCE_TYPE_LABEL, "operator": "In", "values": [shape.instance_type]}
    extra = [_REGIONAL[classes.group]] if classes.group in _REGIONAL else []
    if _asks_for_capacity(live):
        extra.append(capacity.requirement(owner))
    return {
        "nodeClassRef": {
            "group": classes.group,
            "kind": classes.kind,
            "name": node_class.name,
        },
        "requirements": [of_type, *extra],
        "taints": [
            {
                "key": labels.SKU_TAINT_KEY,
                "value": labels.SKU_TAINT_VALUE,
                "effect": "NoSchedule",
            }
        ],
        "expireAfter": _live_template(live).get("expireAfter", "Never"),
    }


def _asks_for_capacity(live: Unstructured | None) -> bool:
    """Whether by a requirement. Pools of earlier versions do not, and their nodes would all be
    replaced at once."""
    if live is None:
        return True
    given = _live_template(live).get("requirements", [])
    return any(each.get("key") == CAPACITY_TYPE_LABEL for each in given)


def class_in_use(live: Unstructured | None) -> str:
    """The name of the class that a pool is made from."""
    return str(_live_template(live).get("nodeClassRef", {}).get("name", ""))


def node_class(classes: NodeClasses, wanted: NodeClass) -> Manifest:
    """The object of a class of the chart."""
    default = {DEFAULT_CLASS_LABEL: "true"} if wanted.default else {}
    return {
        "apiVersion": classes.resource.api_version,
        "kind": classes.kind,
        "metadata": {"name": wanted.name, "labels": {**MANAGED_BY, **default}},
        "spec": dict(wanted.spec),
    }


def _budgets(owner: NodeOwner, live: Unstructured | None) -> list[Any]:
    """One drifted node at a time. Of an InferenceSet none until its own controller, which looks
    at all of its Workspaces, opens the budget; what that has set stays."""
    disruption = live.spec.get("disruption", {}) if live else {}
    if not _set_labels(owner):
        return [{"nodes": "1", "reasons": ["Drifted"]}]
    return list(disruption.get("budgets") or [{"nodes": "0", "reasons": ["Drifted"]}])


def _set_labels(owner: NodeOwner) -> dict[str, str]:
    creator = owner.metadata.labels.get(labels.INFERENCESET_CREATED_BY_LABEL)
    if not creator:
        return {}
    return {
        labels.KARPENTER_INFERENCESET_LABEL: creator,
        labels.KARPENTER_INFERENCESET_NAMESPACE_LABEL: owner.metadata.namespace,
    }


def _live_template(live: Unstructured | None) -> Mapping[str, Any]:
    template = live.spec.get("template", {}) if live else {}
    spec: Mapping[str, Any] = template.get("spec", {})
    return spec
