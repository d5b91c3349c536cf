"""The cluster's network: a bridge on the host, a veth pair for each node.

Nodes and pods lie on one link. A node answers ARP for its pods (proxy ARP), so that neither
host nor nodes need a route for each node, and the host need not forward. Services are
reached from the host through the system node, whose kube-proxy translates.

The cluster is closed: its ranges are `unreachable` where no better route exists, so that an
address nobody holds is refused instead of leaving through the default route, and nothing is
forwarded from the bridge to an uplink unless egress is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path

from localcluster.commands import run, succeeds

MAX_NODES = 254
SYSTEM_NODE_INDEX = 1
_LAST_RESORT = "4000000000"  # a metric that every other route beats
_TABLE = "kaito-localcluster"
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_VETH_NAME = re.compile(r"kaito-n\d+")

NODES = IPv4Network("10.88.0.0/16")
PODS = IPv4Network("10.244.0.0/16")
SERVICES = IPv4Network("10.96.0.0/16")

Command = list[str]


@dataclass(frozen=True, slots=True)
class Network:
    """Names and addresses; pure."""

    nodes: IPv4Network = NODES
    pods: IPv4Network = PODS
    services: IPv4Network = SERVICES
    egress: bool = False
    bridge: str = "kaito0"

    @property
    def gateway(self) -> str:
        """The host's address on the bridge, the API server's too."""
        return str(self.nodes[1])

    @property
    def dns(self) -> str:
        """The cluster IP of the DNS service."""
        return str(self.services[10])

    def node_address(self, index: int) -> str:
        return str(self.nodes[256 + index])

    def pod_range(self, index: int) -> IPv4Network:
        return next(islice(self.pods.subnets(new_prefix=24), index, None))

    def veth(self, index: int) -> str:
        """The host's end of a node's link."""
        return f"kaito-n{index}"

    def mac(self, index: int) -> str:
        """A node's hardware address; kept by the index, so that neighbour caches stay true."""
        return f"02:88:00:00:00:{index:02x}"

    def up_plan(self) -> list[Command]:
        """The commands that make bridge and routes; each may be repeated."""
        prefix = self.nodes.prefixlen
        link = ["ip", "link", "set", self.bridge]
        ranges = (self.nodes, self.pods, self.services)
        closed = [
            ["ip", "route", "replace", "unreachable", str(item), "metric", _LAST_RESORT]
            for item in ranges
        ]
        return [
            *closed,
            ["ip", "address", "replace", f"{self.gateway}/{prefix}", "dev", self.bridge],
            [*link, "up"],
            ["ip", "route", "replace", str(self.pods), "dev", self.bridge],
            [
                *["ip", "route", "replace", str(self.services), "dev", self.bridge],
                *["via", self.node_address(SYSTEM_NODE_INDEX), "onlink"],
            ],
        ]

    def firewall(self) -> str:
        """The nftables rules of the host."""
        rules = [f'iifname "{self.bridge}" oifname != "{self.bridge}" drop']
        masquerade: list[str] = []
        if self.egress:
            rules = [f'iifname "{self.bridge}" accept']
            masquerade = [
                f'ip saddr {item} oifname != "{self.bridge}" masquerade'
                for item in (self.nodes, self.pods)
            ]
        return "\n".join(
            [
                f"table inet {_TABLE}",
                f"delete table inet {_TABLE}",
                f"table inet {_TABLE} {{",
                "chain forward { type filter hook forward priority filter;",
                *rules,
                "}",
                "chain postrouting { type nat hook postrouting priority srcnat;",
                *masquerade,
                "}",
                "}",
            ]
        )

    def foreign_rules(self) -> list[list[str]]:
        """What a firewall that drops by default must let through."""
        inner = [["-i", self.bridge, "-o", self.bridge]]
        outer = [["-i", self.bridge], ["-o", self.bridge]]
        return [[*rule, "-j", "ACCEPT"] for rule in (outer if self.egress else inner)]

    def attach_plan(self, index: int, pid: int) -> list[Command]:
        """The commands that link the network namespace of a process to the bridge."""
        veth, peer = self.veth(index), f"{self.veth(index)}-in"
        create = ["ip", "link", "add", veth, "type", "veth", "peer", "name", peer]
        return [
            [*create, "address", self.mac(index)],
            ["ip", "link", "set", veth, "master", self.bridge, "up"],
            ["ip", "link", "set", peer, "netns", str(pid), "name", "eth0"],
        ]

    def inside_plan(self, index: int) -> list[Command]:
        """The commands that configure a node's network from within."""
        address = f"{self.node_address(index)}/{self.nodes.prefixlen}"
        plan = [
            ["ip", "link", "set", "lo", "up"],
            ["ip", "address", "replace", address, "dev", "eth0"],
            ["ip", "link", "set", "eth0", "up"],
            ["ip", "route", "replace", str(self.pods), "dev", "eth0"],
            ["ip", "route", "replace", "unreachable", str(self.pod_range(index))],
        ]
        if self.egress:
            plan.append(["ip", "route", "replace", "default", "via", self.gateway])
        return plan


def up(network: Network, state: Path) -> None:
    """Make bridge, routes and rules; what is there already is set right."""
    if not succeeds(["ip", "link", "show", network.bridge]):
        run(["ip", "link", "add", network.bridge, "type", "bridge"])
    for command in network.up_plan():
        run(command)
    run(["nft", network.firewall()])
    _pass_foreign_firewall(network)
    if network.egress:
        before = state / "ip_forward.before"
        if not before.exists():
            before.write_text(_FORWARDING.read_text())
        _FORWARDING.write_text("1")


def down(network: Network, state: Path) -> None:
    """Remove every trace of the network from the host."""
    for veth in veths():
        succeeds(["ip", "link", "delete", veth])
    succeeds(["ip", "link", "delete", network.bridge])
    for item in (network.nodes, network.pods, network.services):
        succeeds(["ip", "route", "delete", "unreachable", str(item), "metric", _LAST_RESORT])
    succeeds(["nft", "delete", "table", "inet", _TABLE])
    for rule in network.foreign_rules():
        if _drops_by_default():
            succeeds(["iptables", "--wait", "-D", "FORWARD", *rule])
    before = state / "ip_forward.before"
    if before.exists():
        _FORWARDING.write_text(before.read_text())
        before.unlink()


def attach(network: Network, index: int, pid: int) -> None:
    """Link a node; a half-made link of an earlier try is replaced."""
    detach(network, index)
    for command in network.attach_plan(index, pid):
        run(command)


def _drops_by_default() -> bool:
    return "-P FORWARD DROP" in run(["iptables", "--wait", "-S", "FORWARD"])


def _pass_foreign_firewall(network: Network) -> None:
    """Docker sets the policy of forwarding to DROP, for bridged frames too (br_netfilter)."""
    if _drops_by_default():
        for rule in network.foreign_rules():
            if not succeeds(["iptables", "--wait", "-C", "FORWARD", *rule]):
                run(["iptables", "--wait", "-I", "FORWARD", *rule])


def attached(pid: int) -> bool:
    """Whether the network namespace of a process has its link: the last step of `attach`."""
    try:
        return "eth0:" in Path(f"/proc/{pid}/net/dev").read_text()
    except OSError:
        return False


def detach(network: Network, index: int) -> None:
    """Remove a node's link; the kernel has done so where the namespace is gone."""
    succeeds(["ip", "link", "delete", network.veth(index)])


def veths() -> list[str]:
    """The links of nodes that exist on the host now."""
    return sorted(set(_VETH_NAME.findall(run(["ip", "-o", "link", "show", "type", "veth"]))))


def remains(network: Network) -> list[str]:
    """What of the network is still on the host, in words; empty after `down`."""
    found = [f"link {veth}" for veth in veths()]
    if succeeds(["ip", "link", "show", network.bridge]):
        found.append(f"bridge {network.bridge}")
    routes = run(["ip", "route", "show"]).splitlines()
    ranges = tuple(str(item) for item in (network.nodes, network.pods, network.services))
    for route in routes:
        words = route.removeprefix("unreachable ").split()
        if words and words[0] in ranges:
            found.append(f"route {route.strip()}")
    if succeeds(["nft", "list", "table", "inet", _TABLE]):
        found.append(f"nftables table {_TABLE}")
    return found
