"""Cases 69 and 70 on the real API server: what the schemas of claims and pools refuse."""

from __future__ import annotations

from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube.errors import InvalidError
from kube.meta import Manifest
from tests.fakes.objects import claim_manifest
from tests.fakes.pools import pool_manifest
from tests.integration.gpu_provisioner.world import Cluster

A_TYPE = "node.kubernetes.io/instance-type"


def _requirement(key: str = A_TYPE, operator: str = "In", **more: Any) -> Manifest:
    return {"key": key, "operator": operator, **more}


_BAD_REQUIREMENTS = {
    "karpenter.sh key": _requirement("karpenter.sh/x", "Exists"),
    "below karpenter.sh": _requirement("a.karpenter.sh/x", "Exists"),
    "hostname": _requirement("kubernetes.io/hostname", "Exists"),
    "long key": _requirement("a" * 317, "Exists"),
    "no key": _requirement("", "Exists"),
    "unknown operator": _requirement(operator="Like", values=["a"]),
    "In without values": _requirement(),
    "In with none": _requirement(values=[]),
    "Gt with two": _requirement(operator="Gt", values=["1", "2"]),
    "Lt with a word": _requirement(operator="Lt", values=["many"]),
    "Gte below zero": _requirement(operator="Gte", values=["-1"]),
    "Lte with none": _requirement(operator="Lte"),
    "long value": _requirement(values=["a" * 64]),
    "odd value": _requirement(values=["a b"]),
    "minValues 0": _requirement(values=["a"], minValues=0),
    "minValues 51": _requirement(operator="Exists", minValues=51),
    "minValues above values": _requirement(values=["a"], minValues=2),
}
_GOOD_REQUIREMENTS = {
    "capacity type": _requirement("karpenter.sh/capacity-type", values=["spot"]),
    "custom": _requirement("example.com/team", "DoesNotExist"),
    "Gt": _requirement("karpenter.k8s.aws/instance-gpu-count", "Gt", values=["0"]),
    "Lte": _requirement("karpenter.k8s.aws/instance-gpu-count", "Lte", values=["8"]),
    "minValues": _requirement(values=["a", "b"], minValues=2),
    "a domain of kubernetes.io": _requirement("a.kubernetes.io/b", "Exists"),
}
_BAD_TAINTS = {
    "no key": {"key": "", "effect": "NoSchedule"},
    "odd key": {"key": "a b", "effect": "NoSchedule"},
    "odd value": {"key": "a", "value": "b c", "effect": "NoSchedule"},
    "unknown effect": {"key": "a", "effect": "Never"},
    "no effect": {"key": "a"},
}
_BAD_SPECS: dict[str, Manifest] = {
    **{f"requirement, {name}": {"requirements": [bad]} for name, bad in _BAD_REQUIREMENTS.items()},
    **{f"taint, {name}": {"taints": [bad]} for name, bad in _BAD_TAINTS.items()},
    **{f"startup taint, {name}": {"startupTaints": [bad]} for name, bad in _BAD_TAINTS.items()},
    "101 requirements": {"requirements": [_requirement(f"a{n}", "Exists") for n in range(101)]},
    "expireAfter in days": {"expireAfter": "30d"},
    "expireAfter of nothing": {"expireAfter": ""},
    "expireAfter in decimals": {"expireAfter": "1.5h"},
    "terminationGracePeriod Never": {"terminationGracePeriod": "Never"},
    "terminationGracePeriod in ms": {"terminationGracePeriod": "10ms"},
    "class without a group": {"nodeClassRef": {"group": "", "kind": "K", "name": "n"}},
    "class with a slash": {"nodeClassRef": {"group": "a/b", "kind": "K", "name": "n"}},
    "class without a kind": {"nodeClassRef": {"group": "g", "kind": "", "name": "n"}},
    "class without a name": {"nodeClassRef": {"group": "g", "kind": "K", "name": ""}},
}
_GOOD_SPECS: dict[str, Manifest] = {
    **{f"requirement, {name}": {"requirements": [ok]} for name, ok in _GOOD_REQUIREMENTS.items()},
    "durations": {"expireAfter": "1h30m", "terminationGracePeriod": "90s"},
    "Never": {"expireAfter": "Never"},
    "taint": {"taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]},
}


async def test_case_69_what_a_claim_may_not_say(cluster: Cluster) -> None:
    wrong = [
        name
        for name, spec in _BAD_SPECS.items()
        if await _accepted(cluster, {**claim_manifest("c"), "spec": _claim_spec(spec)})
    ]
    assert wrong == [], "accepted"
    refused = [
        name
        for name, spec in _GOOD_SPECS.items()
        if not await _accepted(cluster, {**claim_manifest("c"), "spec": _claim_spec(spec)})
    ]
    assert refused == [], "refused"


def _claim_spec(spec: Manifest) -> Manifest:
    return {**claim_manifest()["spec"], **spec}


_BUDGET: Manifest = {"nodes": "1"}
_BAD_BUDGETS: dict[str, Manifest] = {
    "101%": {"nodes": "101%"},
    "below zero": {"nodes": "-1"},
    "half": {"nodes": "0.5"},
    "unknown reason": {"reasons": ["Boredom"]},
    "schedule alone": {"schedule": "@daily"},
    "duration alone": {"duration": "1h"},
    "four fields": {"schedule": "* * * *", "duration": "1h"},
    "unknown macro": {"schedule": "@often", "duration": "1h"},
    "duration in seconds": {"schedule": "@daily", "duration": "30s"},
}
_BAD_POOLS: dict[str, Manifest] = {
    **{f"template, {name}": pool_manifest(template=spec) for name, spec in _BAD_SPECS.items()},
    "template, nodepool key": pool_manifest(
        requirements=[_requirement("karpenter.sh/nodepool", values=["a"])]
    ),
    "label nodepool": pool_manifest(labels={"karpenter.sh/nodepool": "a"}),
    "label of karpenter.sh": pool_manifest(labels={"karpenter.sh/x": "a"}),
    "label hostname": pool_manifest(labels={"kubernetes.io/hostname": "a"}),
    "label value": pool_manifest(labels={"a": "b c"}),
    "long label value": pool_manifest(labels={"a": "b" * 64}),
    "101 labels": pool_manifest(labels={f"a{n}": "b" for n in range(101)}),
    "weight with replicas": pool_manifest(weight=1),
    "weight 0": pool_manifest(replicas=None, weight=0),
    "weight 101": pool_manifest(replicas=None, weight=101),
    "limits.cpu with replicas": pool_manifest(limits={"cpu": "1"}),
    "replicas below zero": pool_manifest(replicas=-1),
    "consolidateAfter": pool_manifest(disruption={"consolidateAfter": "1d"}),
    "consolidationPolicy": pool_manifest(
        disruption={"consolidateAfter": "0s", "consolidationPolicy": "Sometimes"}
    ),
    **{
        f"budget, {name}": pool_manifest(
            disruption={"consolidateAfter": "0s", "budgets": [{**_BUDGET, **budget}]}
        )
        for name, budget in _BAD_BUDGETS.items()
    },
    "51 budgets": pool_manifest(disruption={"consolidateAfter": "0s", "budgets": [_BUDGET] * 51}),
}
_GOOD_POOLS: dict[str, Manifest] = {
    **{f"template, {name}": pool_manifest(template=spec) for name, spec in _GOOD_SPECS.items()},
    "static": pool_manifest(replicas=0, limits={"nodes": "5"}),
    "dynamic": pool_manifest(replicas=None, weight=100, limits={"cpu": "100"}),
    "label capacity type": pool_manifest(labels={"karpenter.sh/capacity-type": "spot"}),
    "budget": pool_manifest(
        disruption={
            "consolidateAfter": "Never",
            "consolidationPolicy": "Balanced",
            "budgets": [
                {
                    "nodes": "100%",
                    "reasons": ["Drifted", "Empty", "Underutilized"],
                    "schedule": "0 9 * * mon-fri",
                    "duration": "8h30m",
                }
            ],
        }
    ),
}


async def test_case_69_what_a_pool_may_not_say(cluster: Cluster) -> None:
    wrong = [name for name, pool in _BAD_POOLS.items() if await _accepted(cluster, pool)]
    assert wrong == [], "accepted"
    refused = [name for name, pool in _GOOD_POOLS.items() if not await _accepted(cluster, pool)]
    assert refused == [], "refused"


async def _accepted(cluster: Cluster, manifest: Manifest) -> bool:
    """Whether the API server would store it; it is taken back."""
    try:
        made = await cluster.client.create(manifest)
    except InvalidError:
        return False
    resource = NODE_POOLS if made["kind"] == "NodePool" else NODE_CLAIMS
    await cluster.client.delete(resource, made["metadata"]["name"])
    return True


@pytest.mark.parametrize(
    ("before", "patch", "told"),
    [
        pytest.param(
            pool_manifest(), {"replicas": None}, "static", id="case_69 replicas taken away"
        ),
        pytest.param(
            pool_manifest(replicas=None), {"replicas": 1}, "static", id="case_69 replicas added"
        ),
        pytest.param(
            pool_manifest(),
            {"template": {"spec": {"nodeClassRef": {"kind": "Other"}}}},
            "kind is immutable",
            id="case_69 another kind of class",
        ),
        pytest.param(
            pool_manifest(),
            {"template": {"spec": {"nodeClassRef": {"group": "other.io"}}}},
            "group is immutable",
            id="case_69 another group of class",
        ),
    ],
)
async def test_case_69_what_cannot_be_changed_of_a_pool(
    cluster: Cluster, before: Manifest, patch: Manifest, told: str
) -> None:
    await cluster.client.create(before)
    with pytest.raises(InvalidError, match=told):
        await cluster.client.patch(NODE_POOLS, "pool", {"spec": patch})


async def test_case_69_the_name_of_the_class_can_be_changed(cluster: Cluster) -> None:
    await cluster.client.create(pool_manifest())
    other = {"template": {"spec": {"nodeClassRef": {"name": "other"}}}}
    pool = await cluster.client.patch(NODE_POOLS, "pool", {"spec": other})
    assert pool.spec.template.spec.node_class_ref.name == "other"


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"expireAfter": "1h"}, id="case_70 a value"),
        pytest.param({"taints": [{"key": "a", "effect": "NoSchedule"}]}, id="case_70 a new field"),
        pytest.param({"requirements": []}, id="case_70 a list"),
        pytest.param({"expireAfter": None}, id="case_70 a default comes back"),
    ],
)
async def test_case_70_the_spec_of_a_claim_is_immutable(cluster: Cluster, spec: Manifest) -> None:
    await cluster.create_claim("ws1")
    with pytest.raises(InvalidError, match="spec is immutable"):
        await cluster.client.patch(NODE_CLAIMS, "ws1", {"spec": spec})
