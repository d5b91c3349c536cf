"""What the CEL rules of the CRDs say, said without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from apis.karpenter.v1.validation import refusals

CLASS = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}


def claim(requirement: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    requirements = [requirement] if requirement else []
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": "a"},
        "spec": {"nodeClassRef": CLASS, "requirements": requirements, **spec},
    }


def pool(
    requirement: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    template = {
        "metadata": {"labels": labels or {}},
        "spec": {"nodeClassRef": CLASS, "requirements": [requirement] if requirement else []},
    }
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "a"},
        "spec": {"template": template, **spec},
    }


def said(manifest: dict[str, Any]) -> str:
    return "\n".join(map(str, refusals(manifest)))


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(claim(), id="no requirements"),
        pytest.param(
            claim({"key": "karpenter.sh/nodepool", "operator": "In", "values": ["kaito"]}),
            id="nodepool on a claim",
        ),
        pytest.param(
            claim({"key": "a.kubernetes.io/b", "operator": "Exists"}), id="kubernetes.io (v1.14)"
        ),
        pytest.param(claim({"key": "a", "operator": "Gte", "values": ["0"]}), id="Gte (v1.14)"),
        pytest.param(claim(expireAfter="Never", terminationGracePeriod="1h30m"), id="durations"),
        pytest.param(pool(replicas=2, limits={"nodes": "5"}), id="static pool"),
        pytest.param(
            pool(disruption={"budgets": [{"nodes": "1", "reasons": ["Drifted"]}]}), id="budget"
        ),
    ],
)
def test_accepted(manifest: dict[str, Any]) -> None:
    assert said(manifest) == ""


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        pytest.param(
            {**claim(), "apiVersion": "karpenter.sh/v1beta1"}, "apiVersion:", id="version"
        ),
        pytest.param({**claim(), "metadata": {}}, "metadata.name: must be set", id="name"),
        pytest.param(claim(nodeClassRef={**CLASS, "group": ""}), "group may not be", id="group"),
        pytest.param(claim(nodeClassRef={**CLASS, "group": "a/b"}), "does not match", id="slash"),
        pytest.param(claim(expireAfter="1d"), "spec.expireAfter:", id="days"),
        pytest.param(claim(terminationGracePeriod="1.5h"), "spec.termination", id="decimals"),
        pytest.param(
            claim(taints=[{"key": "a", "effect": "Never"}]), "spec.taints[0].effect", id="effect"
        ),
        pytest.param(claim({"key": "karpenter.sh/x", "operator": "Exists"}), "domain", id="domain"),
        pytest.param(
            claim({"key": "a.karpenter.sh/x", "operator": "Exists"}), "domain", id="subdomain"
        ),
        pytest.param(
            claim({"key": "kubernetes.io/hostname", "operator": "Exists"}), "hostname", id="host"
        ),
        pytest.param(claim({"key": "a", "operator": "In"}), "must have a value", id="In"),
        pytest.param(
            claim({"key": "a", "operator": "Gt", "values": ["1", "2"]}), "single", id="Gt two"
        ),
        pytest.param(claim({"key": "a", "operator": "Lt", "values": ["x"]}), "single", id="Lt x"),
        pytest.param(
            claim({"key": "a", "operator": "In", "values": ["x"], "minValues": 2}),
            "minValues: 2 is more than the 1",
            id="minValues",
        ),
        pytest.param(
            claim({"key": "a", "operator": "In", "values": ["x"], "minValues": 51}),
            "51 is more than 50",
            id="minValues 51",
        ),
        pytest.param(claim({"key": "a" * 320, "operator": "Exists"}), "320 characters", id="long"),
        pytest.param(
            pool({"key": "karpenter.sh/nodepool", "operator": "Exists"}),
            "restricted",
            id="pool key",
        ),
        pytest.param(pool(labels={"karpenter.sh/nodepool": "a"}), "restricted", id="pool label"),
        pytest.param(pool(labels={"karpenter.sh/x": "a"}), "domain", id="pool label domain"),
        pytest.param(pool(replicas=1, weight=1), "'weight' is not supported", id="weight"),
        pytest.param(pool(replicas=1, limits={"cpu": "1"}), "limits.nodes", id="limits"),
        pytest.param(pool(weight=101), "101 is more than 100", id="weight 101"),
        pytest.param(
            pool(disruption={"budgets": [{"nodes": "1", "schedule": "@daily"}]}),
            "'schedule' must be set with 'duration'",
            id="schedule",
        ),
        pytest.param(
            pool(disruption={"budgets": [{"nodes": "101%"}]}), "does not match", id="nodes"
        ),
        pytest.param(pool(disruptions={}), 'did you mean "disruption"?', id="unknown field"),
    ],
)
def test_refused(manifest: dict[str, Any], message: str) -> None:
    assert message in said(manifest)
