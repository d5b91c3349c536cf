"""Addresses, routes and rules of the cluster's network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest

from localcluster.network import MAX_NODES, Network


def test_the_api_server_and_the_nodes_share_the_bridge() -> None:
    network = Network()
    assert network.gateway == "10.88.0.1"
    assert IPv4Address(network.node_address(MAX_NODES)) in network.nodes


def test_every_node_has_an_address_and_a_pod_range_of_its_own() -> None:
    network = Network()
    indexes = range(1, MAX_NODES + 1)
    addresses = {network.node_address(index) for index in indexes} | {network.gateway}
    assert len(addresses) == MAX_NODES + 1
    ranges = {network.pod_range(index) for index in indexes}
    assert len(ranges) == MAX_NODES
    assert all(item.subnet_of(network.pods) for item in ranges)
    assert len({network.mac(index) for index in indexes}) == MAX_NODES


def test_link_names_fit_the_kernel() -> None:
    assert len(f"{Network().veth(MAX_NODES)}-in") <= 15


def test_addresses_nobody_holds_are_refused() -> None:
    network = Network()
    refused = {item[4] for item in network.up_plan() if "unreachable" in item}
    assert refused == {str(network.nodes), str(network.pods), str(network.services)}


def test_a_better_route_beats_the_refusal() -> None:
    plan = Network().up_plan()
    metrics = {item[item.index("metric") + 1] for item in plan if "unreachable" in item}
    assert all(int(metric) > 1_000_000 for metric in metrics)


def test_a_closed_cluster_forwards_nothing() -> None:
    rules = Network().firewall()
    assert 'iifname "kaito0" oifname != "kaito0" drop' in rules
    assert "masquerade" not in rules
    assert not any("default" in command for command in Network().inside_plan(2))


def test_egress_opens_the_way_out() -> None:
    network = Network(egress=True)
    assert "masquerade" in network.firewall()
    assert ["ip", "route", "replace", "default", "via", "10.88.0.1"] in network.inside_plan(2)


def test_another_range_moves_bridge_and_nodes() -> None:
    network = Network(nodes=IPv4Network("10.99.0.0/16"))
    assert ip_address(network.node_address(3)) in IPv4Network("10.99.0.0/16")
    assert any("10.99.0.1/16" in command for command in network.up_plan())


@pytest.mark.parametrize("index", [1, 7, MAX_NODES])
def test_a_node_refuses_pod_addresses_of_its_own_that_no_pod_has(index: int) -> None:
    network = Network()
    refusal = ["ip", "route", "replace", "unreachable", str(network.pod_range(index))]
    assert refusal in network.inside_plan(index)


def test_a_firewall_that_drops_by_default_lets_only_the_cluster_through() -> None:
    bridge = Network().bridge
    assert Network().foreign_rules() == [["-i", bridge, "-o", bridge, "-j", "ACCEPT"]]
    assert ["-o", bridge, "-j", "ACCEPT"] in Network(egress=True).foreign_rules()
