"""Who reaches an endpoint: a NetworkPolicy for the pods of one Workspace or RAGEngine.

The pods of its namespace, and whom the installation names besides (a gateway, Prometheus: metrics
have no port of their own), come to the port that serves, and to no other. What an engine over
several nodes says between its pods (Ray, vLLM, NCCL on ports of its choice) is free among these
alone. A kubelet's probes come from the node, which no policy keeps out; the controller itself asks
no endpoint anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from apis.container import PORT
from kube.meta import Manifest
from workspace_controller.manifests import ownership
from workspace_controller.marks import Owner

_SELECTORS = frozenset({"podSelector", "namespaceSelector"})
_BLOCK = "ipBlock"
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
"""Of a selector; the first two take values."""


def name(owner: Owner) -> str:
    return f"{owner.metadata.name}-endpoint"


def network_policy(owner: Owner, beside: Iterable[Manifest]) -> Manifest:
    """Ingress alone: what pods may call, the namespace's own policies say."""
    pods = {"matchLabels": ownership.pod_labels(owner)}
    ours: list[Manifest] = [{"podSelector": {}}, *beside]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": ownership.child_metadata(owner, name(owner)),
        "spec": {
            "podSelector": pods,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": ours, "ports": [{"port": PORT, "protocol": "TCP"}]},
                {"from": [{"podSelector": pods}]},
            ],
        },
    }


def peers(text: str) -> tuple[Manifest, ...]:
    """NetworkPolicyPeers as JSON; ValueError in words that follow on the setting's name."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(found, list):
        raise ValueError("is no list of NetworkPolicyPeers; [] lets in the own namespace alone")
    for at, each in enumerate(found):
        if complaint := _complaint(each):
            raise ValueError(f"[{at}] {complaint}")
    return tuple(found)


def _complaint(peer: object) -> str:
    """Of what the API server would refuse, or take for everybody."""
    if not isinstance(peer, dict) or not peer:
        return "is empty, which would be nobody; give a namespaceSelector, podSelector or ipBlock"
    if unknown := sorted(peer.keys() - _SELECTORS - {_BLOCK}):
        return f"has {unknown[0]}; only namespaceSelector, podSelector and ipBlock are known"
    if not all(isinstance(value, dict) for value in peer.values()):
        return "has a selector that is none"
    if _BLOCK not in peer:
        return next(filter(None, (_of_selector(name, peer[name]) for name in sorted(peer))), "")
    if peer.keys() & _SELECTORS:
        return "has ipBlock beside a selector; make two of it"
    return _of_block(peer[_BLOCK])


def _of_block(block: Manifest) -> str:
    if unknown := sorted(block.keys() - {"cidr", "except"}):
        return f"has {unknown[0]} in its ipBlock; only cidr and except are known"
    if not isinstance(block.get("cidr"), str):
        return "has an ipBlock without cidr"
    return "" if _texts(block.get("except", [])) else "has an except that is no list of texts"


def _of_selector(name: str, selector: Manifest) -> str:
    """A misspelt field would be dropped, and the selector, with less in it, select everybody."""
    if unknown := sorted(selector.keys() - {"matchLabels", "matchExpressions"}):
        return f"has {unknown[0]} in {name}; only matchLabels and matchExpressions are known"
    labels = selector.get("matchLabels", {})
    if not isinstance(labels, dict) or not _texts(list(labels.values())):
        return f"has matchLabels in {name} that are no texts by name"
    wanted = selector.get("matchExpressions", [])
    if not isinstance(wanted, list) or not all(_is_requirement(each) for each in wanted):
        return (
            f"has matchExpressions in {name} that are none: each has key, operator"
            f" ({', '.join(_OPERATORS)}) and, with the first two, values"
        )
    return ""


def _is_requirement(wanted: object) -> bool:
    if not isinstance(wanted, dict) or wanted.keys() - {"key", "operator", "values"}:
        return False
    operator, values = wanted.get("operator"), wanted.get("values", [])
    named = isinstance(wanted.get("key"), str) and wanted["key"] != ""
    return (
        named
        and operator in _OPERATORS
        and _texts(values)
        and bool(values) == (operator in _OPERATORS[:2])
    )


def _texts(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)
