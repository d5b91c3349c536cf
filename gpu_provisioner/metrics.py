"""What the provisioner counts, under Karpenter's names and labels."""

from __future__ import annotations

import re

from prometheus_client import Counter, Gauge, Histogram

from apis.karpenter.v1 import labels
from kube import metrics as kube_metrics
from kube.meta import ObjectMeta
from kube.metrics import REGISTRY

_MINUTES = (1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_DAYS = (300, 3600, 6 * 3600, 86400, 3 * 86400, 7 * 86400, 30 * 86400, 90 * 86400)

CLAIMS_CREATED = Counter(
    "karpenter_nodeclaims_created",
    "Claims taken on; each is counted once, with the finalizer",
    ["reason", "nodepool", "min_values_relaxed"],
    registry=REGISTRY,
)
CLAIMS_CREATED.labels("provisioned", "", "false")  # what begins with 1 is no increase to Prometheus
CLAIMS_TERMINATED = Counter(
    "karpenter_nodeclaims_terminated",
    "Claims that are gone, with their instances",
    ["nodepool", "capacity_type", "zone"],
    registry=REGISTRY,
)
CLAIMS_DISRUPTED = Counter(
    "karpenter_nodeclaims_disrupted",
    "Claims that the provisioner itself gave up",
    ["reason", "nodepool", "capacity_type", "consolidation_policy", "termination_mode"],
    registry=REGISTRY,
)
INSTANCE_TERMINATION_SECONDS = Histogram(
    "karpenter_nodeclaims_instance_termination_duration_seconds",
    "From the first delete of the instance until the cloud no longer has it",
    ["nodepool"],
    buckets=_MINUTES,
    registry=REGISTRY,
)
CLAIM_TERMINATION_SECONDS = Histogram(
    "karpenter_nodeclaims_termination_duration_seconds",
    "From the deletion of a claim until it is gone",
    ["nodepool"],
    buckets=_MINUTES,
    registry=REGISTRY,
)
NODES_CREATED = Counter(
    "karpenter_nodes_created", "Nodes registered", ["nodepool", "zone"], registry=REGISTRY
)
NODES_TERMINATED = Counter(
    "karpenter_nodes_terminated", "Nodes that are gone", ["nodepool", "zone"], registry=REGISTRY
)
NODE_TERMINATION_SECONDS = Histogram(
    "karpenter_nodes_termination_duration_seconds",
    "From the deletion of a node until it is gone",
    ["nodepool"],
    buckets=_MINUTES,
    registry=REGISTRY,
)
NODE_LIFETIME_SECONDS = Histogram(
    "karpenter_nodes_lifetime_duration_seconds",
    "From the creation of a node until it is gone",
    ["nodepool"],
    buckets=_DAYS,
    registry=REGISTRY,
)
NODES_DRAINED = Counter(
    "karpenter_nodes_drained", "Nodes that were emptied", ["nodepool"], registry=REGISTRY
)
EVICTION_REQUESTS = Counter(
    "karpenter_nodes_eviction_requests",
    "Calls of the Eviction API, by HTTP code",
    ["code"],
    registry=REGISTRY,
)
PODS_DRAINED = Counter(
    "karpenter_pods_drained",
    "Pods that were evicted, or deleted for want of time (forced)",
    ["reason"],
    registry=REGISTRY,
)

CLAIMS_UNHEALTHY_DISRUPTED = Counter(
    "karpenter_nodeclaims_unhealthy_disrupted",
    "Claims whose node was repaired, which is to say replaced",
    ["condition", "nodepool", "capacity_type", "image_id"],
    registry=REGISTRY,
)
PODS_DISRUPTION_INITIATED = Counter(
    "karpenter_pods_disruption_initiated",
    "Pods on the nodes of claims that the provisioner gave up",
    ["reason", "nodepool", "capacity_type", "consolidation_policy", "termination_mode"],
    registry=REGISTRY,
)
INTERRUPTIONS_RECEIVED = Counter(
    "karpenter_interruption_received_messages",
    "Notices that the cloud takes a machine back",
    ["message_type"],
    registry=REGISTRY,
)
INTERRUPTIONS_DELETED = Counter(
    "karpenter_interruption_deleted_messages",
    "Notices that were carried out, or concern nobody here, and acknowledged",
    registry=REGISTRY,
)
INTERRUPTION_SECONDS = Histogram(
    "karpenter_interruption_message_queue_duration_seconds",
    "From when a notice was sent until it was carried out",
    buckets=_MINUTES,
    registry=REGISTRY,
)
INSTANCE_STATUS_UNHEALTHY = Counter(
    "karpenter_interruption_instance_status_unhealthy",
    "Notices that the cloud's own checks of a machine fail",
    ["category"],
    registry=REGISTRY,
)

POOL_LIMIT = Gauge(
    "karpenter_nodepools_limit",
    "What a pool may have",
    ["nodepool", "resource_type"],
    registry=REGISTRY,
)
POOL_USAGE = Gauge(
    "karpenter_nodepools_usage",
    "What a pool has",
    ["nodepool", "resource_type"],
    registry=REGISTRY,
)
POOL_ALLOWED_DISRUPTIONS = Gauge(
    "karpenter_nodepools_allowed_disruptions",
    "How many more nodes of a pool may be disrupted now",
    ["nodepool", "reason"],
    registry=REGISTRY,
)

INSTANCES_WITHOUT_CLAIM = Gauge(
    "kaito_instances_without_claim",
    "Machines that the cloud has, that cost money, and that no claim asks for, as the last round of"
    " garbage collection found them",
    registry=None,
)
"""Told while it leads (gpu_provisioner.nodemetrics): a former leader's would be counted twice."""
INSTANCES_COLLECTED = Counter(
    "kaito_instances_collected",
    "Machines without a claim that garbage collection has ended",
    registry=REGISTRY,
)

kube_metrics.build_info("karpenter_build_info")
kube_metrics.build_info("kaito_gpu_provisioner_build_info")  # which a Karpenter beside us lacks


def nodepool(metadata: ObjectMeta) -> str:
    return metadata.labels.get(labels.NODEPOOL_LABEL, "")


def zone(metadata: ObjectMeta) -> str:
    return metadata.labels.get(labels.ZONE_LABEL, "")


def capacity_type(metadata: ObjectMeta) -> str:
    return metadata.labels.get(labels.CAPACITY_TYPE_LABEL, "")


def snake_case(name: str) -> str:
    """A condition's type as a value of a label: `AcceleratedHardwareReady` → words and lines."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
