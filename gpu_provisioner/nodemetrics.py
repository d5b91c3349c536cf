"""What there is of claims and nodes, and what it is good for: counted when Prometheus asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner import metrics
from gpu_provisioner.gpus import RESOURCES
from gpu_provisioner.indexes import NODE_NAME, NODE_PROVIDER_ID
from gpu_provisioner.managed import Managed
from gpu_provisioner.shared import Caches, Shared, Stores
from kube import quantity
from kube.clock import Clock
from kube.conditionmetrics import ConditionCollector, Watched
from kube.leadermetrics import WhileLeading
from kube.objects import Node, Pod

WAITING = "waiting"
"""The machine may cost money already; nothing can run on it yet."""
IDLE = "idle"
"""Initialized, and but for daemons no pod runs on it: money for nothing."""
BUSY = "busy"
ENDING = "ending"
PHASES = (WAITING, IDLE, BUSY, ENDING)

_NODE_LABELS = ("node_name", "nodepool", "instance_type", "capacity_type", "zone", "arch", "os")
_SYSTEM = frozenset({"DaemonSet", "Node"})
"""Owners of pods that every node has: daemons, and the kubelet's own (static) pods."""


def told_by_the_leader(shared: Shared, caches: Caches) -> WhileLeading:
    """Gauges over the whole cluster, and changes of conditions."""
    conditions = ConditionCollector(
        (
            Watched(caches.claims, labels.NODEPOOL_LABEL, c.READY_DEPENDENTS),
            Watched(caches.pools),
        ),
        shared.clock,
    )
    nodes = NodeCollector(caches.stores, shared.managed, shared.clock)
    told = WhileLeading((nodes, metrics.INSTANCES_WITHOUT_CLAIM, conditions))
    conditions.leading = lambda: told.leading
    return told


class NodeCollector(Collector):
    """Claims by phase, with their GPUs; and of each of their nodes what Karpenter tells."""

    def __init__(self, stores: Stores, managed: Managed, clock: Clock) -> None:
        self._stores = stores
        self._managed = managed
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily]:
        claims = [each for each in self._stores.claims.list() if self._managed.claim(each)]
        yield from self._counted(claims)
        yield from self._of_nodes(claims)

    def _counted(self, claims: list[NodeClaim]) -> Iterator[GaugeMetricFamily]:
        count: Counter[tuple[str, str, str]] = Counter()
        gpus: Counter[tuple[str, str, str]] = Counter()
        for claim in claims:
            place = (self.phase(claim), *_kind(claim))
            count[place] += 1
            gpus[place] += _gpus(claim)
        kinds = {place[1:] for place in count}
        for name, text, found in (
            ("kaito_nodeclaims", "Claims by phase: waiting, idle, busy, ending", count),
            ("kaito_nodeclaims_gpus", "GPUs of claims, by the claims' phase", gpus),
        ):
            family = GaugeMetricFamily(
                name, text, labels=["phase", "instance_type", "capacity_type"]
            )
            for phase in PHASES:
                for kind in sorted(kinds) or [("", "")]:
                    family.add_metric([phase, *kind], found[(phase, *kind)])
            yield family

    def phase(self, claim: NodeClaim) -> str:
        """One of PHASES."""
        if claim.deleting:
            return ENDING
        if not claim.is_true(c.INITIALIZED):
            return WAITING
        pods = self._stores.pods.by_index(NODE_NAME, claim.status.node_name)
        return BUSY if any(map(_works, pods)) else IDLE

    def _of_nodes(self, claims: list[NodeClaim]) -> Iterator[GaugeMetricFamily]:
        allocatable = GaugeMetricFamily(
            "karpenter_nodes_allocatable",
            "What pods can have of a node",
            labels=["resource_type", *_NODE_LABELS],
        )
        lifetime = GaugeMetricFamily(
            "karpenter_nodes_current_lifetime_seconds", "The node's age", labels=_NODE_LABELS
        )
        now = self._clock.now()
        for claim in claims:
            if not (identity := claim.status.provider_id):
                continue
            for node in self._stores.nodes.by_index(NODE_PROVIDER_ID, identity):
                values = _values(node)
                for resource, amount in node.status.allocatable.items():
                    told = [resource.replace("/", "_"), *values]
                    allocatable.add_metric(told, float(quantity.parse(amount)))
                if (born := node.metadata.creation_timestamp) is not None:
                    lifetime.add_metric(values, max(0.0, (now - born).total_seconds()))
        yield from (allocatable, lifetime)


def _works(pod: Pod) -> bool:
    """Whether somebody wanted this pod on this node, rather than one on each."""
    owners = {each.kind for each in pod.metadata.owner_references}
    return not pod.ended and not owners & _SYSTEM


def _gpus(claim: NodeClaim) -> int:
    return sum(int(quantity.parse(claim.status.capacity.get(each, "0"))) for each in RESOURCES)


def _kind(claim: NodeClaim) -> tuple[str, str]:
    """Instance type and capacity type; of a claim without a machine as far as it is asked for."""
    asked = (
        each.values[0]
        for each in claim.spec.requirements
        if each.key == labels.INSTANCE_TYPE_LABEL and len(each.values) == 1
    )
    found = claim.metadata.labels.get(labels.INSTANCE_TYPE_LABEL)
    return found or next(asked, ""), metrics.capacity_type(claim.metadata)


def _values(node: Node) -> list[str]:
    worn = node.metadata.labels
    return [
        node.metadata.name,
        *(
            worn.get(label, "")
            for label in (
                labels.NODEPOOL_LABEL,
                labels.INSTANCE_TYPE_LABEL,
                labels.CAPACITY_TYPE_LABEL,
                labels.ZONE_LABEL,
                labels.ARCH_LABEL,
                labels.OS_LABEL,
            )
        ),
    ]
