"""Who reaches endpoints, as the installation says it: judged before a policy is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workspace_controller.manifests import networkpolicy

EXISTS = {"key": "a", "operator": "Exists"}


@pytest.mark.parametrize(
    ("peer", "complaint"),
    [
        ({"podSelector": {"matchLabel": {}}}, r"\[1\] has matchLabel in podSelector; only"),
        ({"podSelector": {"matchLabels": []}}, "has matchLabels in podSelector that are no texts"),
        ({"podSelector": {"matchLabels": {"a": 1}}}, "in podSelector that are no texts by name"),
        (
            {"namespaceSelector": {}, "podSelector": {"matchExpressions": {}}},
            "has matchExpressions in podSelector that are none",
        ),
        ({"namespaceSelector": {"matchExpressions": [{"key": "a"}]}}, "each has key, operator"),
        (
            {"podSelector": {"matchExpressions": [{**EXISTS, "operator": "exists"}]}},
            r"operator \(In, NotIn, Exists, DoesNotExist\)",
        ),
        ({"podSelector": {"matchExpressions": [{**EXISTS, "value": "b"}]}}, "that are none"),
        ({"podSelector": {"matchExpressions": [{**EXISTS, "values": ["b"]}]}}, "that are none"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "that are none"),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "exept": []}}, "has exept in its ipBlock; only"),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": "10.1.0.0/16"}}, "has an except that is no"),
        ({"ipBlock": {"cidr": 1}}, "has an ipBlock without cidr"),
        ({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}, "make two of it"),
    ],
)
def test_a_peer_that_would_be_another_one_is_refused(peer: Any, complaint: str) -> None:
    """What the API server drops, a misspelt `matchLabels` say, leaves a selector of everybody."""
    with pytest.raises(ValueError, match=complaint):
        networkpolicy.peers(json.dumps([{"podSelector": {}}, peer]))


@pytest.mark.parametrize(
    "peer",
    [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"a": "b"}}, "podSelector": {"matchLabels": {}}},
        {"podSelector": {"matchExpressions": [EXISTS, {**EXISTS, "operator": "DoesNotExist"}]}},
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
    ],
)
def test_a_peer_as_kubernetes_has_it_is_handed_on(peer: Any) -> None:
    assert networkpolicy.peers(json.dumps([peer])) == (peer,)
