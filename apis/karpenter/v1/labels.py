"""Names that Karpenter writes on claims and nodes (karpenter.sh/v1, well-known node labels)."""

from __future__ import annotations

GROUP = "karpenter.sh"

NODEPOOL_LABEL = "karpenter.sh/nodepool"
CAPACITY_TYPE_LABEL = "karpenter.sh/capacity-type"
REGISTERED_LABEL = "karpenter.sh/registered"
INITIALIZED_LABEL = "karpenter.sh/initialized"
DO_NOT_SYNC_TAINTS_LABEL = "karpenter.sh/do-not-sync-taints"
"""Exactly `true` on a Node stops the taint sync; any other value does not."""

INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
ZONE_LABEL = "topology.kubernetes.io/zone"
REGION_LABEL = "topology.kubernetes.io/region"
ARCH_LABEL = "kubernetes.io/arch"
OS_LABEL = "kubernetes.io/os"
WINDOWS_BUILD_LABEL = "node.kubernetes.io/windows-build"
HOSTNAME_LABEL = "kubernetes.io/hostname"
EXCLUDE_BALANCERS_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
EXCLUDE_BALANCERS_VALUE = "karpenter"

TERMINATION_FINALIZER = "karpenter.sh/termination"

DO_NOT_DISRUPT_ANNOTATION = "karpenter.sh/do-not-disrupt"
NODEPOOL_HASH_ANNOTATION = "karpenter.sh/nodepool-hash"
NODEPOOL_HASH_VERSION_ANNOTATION = "karpenter.sh/nodepool-hash-version"
NODEPOOL_HASH_VERSION = "kaito-v1"
"""Ours, since the hash is: Karpenter and we stamp each other's claims anew and replace none."""
TERMINATION_TIMESTAMP_ANNOTATION = "karpenter.sh/nodeclaim-termination-timestamp"
"""RFC 3339; past it the drain no longer asks anybody."""
REQUESTED_DRA_DRIVERS_ANNOTATION = "karpenter.sh/requested-dra-drivers"
MIN_VALUES_RELAXED_ANNOTATION = "karpenter.sh/nodeclaim-min-values-relaxed"

UNREGISTERED_TAINT = "karpenter.sh/unregistered"
"""Key; effect NoExecute. The kubelet brings it, registration takes it off."""
DISRUPTED_TAINT = "karpenter.sh/disrupted"
"""Key; effect NoSchedule. Before and during the drain."""

CAPACITY_SPOT = "spot"
CAPACITY_ON_DEMAND = "on-demand"
CAPACITY_RESERVED = "reserved"

WELL_KNOWN_LABELS = frozenset(
    {
        NODEPOOL_LABEL,
        CAPACITY_TYPE_LABEL,
        ZONE_LABEL,
        REGION_LABEL,
        INSTANCE_TYPE_LABEL,
        ARCH_LABEL,
        OS_LABEL,
        WINDOWS_BUILD_LABEL,
    }
)
"""Compatible with anything where one side does not define them; providers add their own."""

NORMALIZED_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": ZONE_LABEL,
    "failure-domain.beta.kubernetes.io/region": REGION_LABEL,
    "beta.kubernetes.io/arch": ARCH_LABEL,
    "beta.kubernetes.io/os": OS_LABEL,
    "beta.kubernetes.io/instance-type": INSTANCE_TYPE_LABEL,
}
"""Old spelling → the one that requirements are compared by."""

RESTRICTED_EXCEPTIONS = frozenset({CAPACITY_TYPE_LABEL, NODEPOOL_LABEL})
"""Keys of the domain karpenter.sh that users may ask for."""


def node_class_label(group: str, kind: str) -> str:
    """`<group>/<lower-case kind>`: on a Node its presence means that a claim manages it."""
    return f"{group}/{kind.lower()}"


def restricted(key: str) -> str:
    """Why users may not require or set this label, or nothing (Karpenter v1.14's CEL rules)."""
    domain = key.split("/", 1)[0]
    if key not in RESTRICTED_EXCEPTIONS and domain.endswith(GROUP):
        return 'label domain "karpenter.sh" is restricted'
    if key == HOSTNAME_LABEL:
        return 'label "kubernetes.io/hostname" is restricted'
    return ""
