"""The cluster's DNS."""

from __future__ import annotations

from typing import Any

from localcluster import addons
from localcluster.network import Network


def _of_kind(kind: str) -> dict[str, Any]:
    found = [item for item in addons.coredns("image:1", Network()) if item["kind"] == kind]
    return found[0]


def test_dns_has_the_address_that_kubelets_tell_pods() -> None:
    assert _of_kind("Service")["spec"]["clusterIP"] == Network().dns == "10.96.0.10"


def test_dns_runs_on_the_node_that_is_always_there() -> None:
    pod = _of_kind("Deployment")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == addons.SYSTEM_LABEL
    assert pod["containers"][0]["image"] == "image:1"


def test_a_closed_cluster_asks_nobody_outside() -> None:
    assert "forward" not in addons.corefile(Network())
    assert "forward . /etc/resolv.conf" in addons.corefile(Network(egress=True))


def test_dns_may_read_what_it_answers_from() -> None:
    rules = _of_kind("ClusterRole")["rules"]
    readable = {name for rule in rules for name in rule["resources"]}
    assert readable == {"services", "pods", "namespaces", "endpointslices"}
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}
