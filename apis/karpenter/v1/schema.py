"""Schema keywords that NodeClaim and NodePool share.

They accept what both Karpenter v1.7 and v1.14 accept: the operators and the freer label domains
of v1.14.
"""

from __future__ import annotations

from typing import Any

from apis.model import rules

QUALIFIED_NAME = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(\/))?"
    r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
)
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
DURATION = r"^([0-9]+(s|m|h))+$"
DURATION_OR_NEVER = r"^(([0-9]+(s|m|h))+|Never)$"
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte")

NO_KARPENTER_DOMAIN = (
    'self in ["karpenter.sh/capacity-type", "karpenter.sh/nodepool"]'
    ' || !self.find("^([^/]+)").endsWith("karpenter.sh")',
    'label domain "karpenter.sh" is restricted',
)
NO_HOSTNAME = (
    'self != "kubernetes.io/hostname"',
    'label "kubernetes.io/hostname" is restricted',
)

REQUIREMENT_KEY: dict[str, Any] = {
    "maxLength": 316,
    "pattern": QUALIFIED_NAME,
    **rules(NO_KARPENTER_DOMAIN, NO_HOSTNAME),
}

IN_NEEDS_VALUES = (
    "self.all(x, x.operator == 'In' ? has(x.values) && x.values.size() != 0 : true)",
    "requirements with operator 'In' must have a value defined",
)
BOUND_NEEDS_INTEGER = (
    "self.all(x, x.operator in ['Gt', 'Lt', 'Gte', 'Lte'] ? (has(x.values)"
    " && x.values.size() == 1 && x.values[0].matches('^[0-9]+$')) : true)",
    "requirements operator 'Gt', 'Lt', 'Gte', or 'Lte' must have a single positive integer value",
)
MIN_VALUES_NEED_VALUES = (
    "self.all(x, (x.operator == 'In' && has(x.minValues)) ?"
    " (has(x.values) && x.values.size() >= x.minValues) : true)",
    "requirements with 'minValues' must have at least that many values specified in the"
    " 'values' field",
)
REQUIREMENTS: dict[str, Any] = {
    "maxItems": 100,
    "x-kubernetes-list-type": "atomic",
    **rules(IN_NEEDS_VALUES, BOUND_NEEDS_INTEGER, MIN_VALUES_NEED_VALUES),
}

CONDITION: dict[str, Any] = {
    "type": "object",
    "required": ["lastTransitionTime", "status", "type"],
    "properties": {
        "type": {
            "type": "string",
            "maxLength": 316,
            "pattern": (
                r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
            ),
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {
            "type": "string",
            "maxLength": 1024,
            "pattern": r"^([A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?|)$",
        },
        "message": {"type": "string", "maxLength": 32768},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
    },
}
"""metav1.Condition as Karpenter's CRDs have it; the empty reason is allowed."""

NO_POOL_KEY = (
    'self.all(x, x.key != "karpenter.sh/nodepool")',
    'label "karpenter.sh/nodepool" is restricted',
)
POOL_REQUIREMENTS: dict[str, Any] = {
    **REQUIREMENTS,
    **rules(IN_NEEDS_VALUES, BOUND_NEEDS_INTEGER, MIN_VALUES_NEED_VALUES, NO_POOL_KEY),
}
POOL_LABELS = (
    (
        'self.all(x, x in ["karpenter.sh/capacity-type", "karpenter.sh/nodepool"]'
        ' || !x.find("^([^/]+)").endsWith("karpenter.sh"))',
        'label domain "karpenter.sh" is restricted',
    ),
    (
        'self.all(x, x != "karpenter.sh/nodepool")',
        'label "karpenter.sh/nodepool" is restricted',
    ),
    (
        'self.all(x, x != "kubernetes.io/hostname")',
        'label "kubernetes.io/hostname" is restricted',
    ),
)
SAME_NODE_CLASS_KIND = (
    ("self.group == oldSelf.group", "nodeClassRef.group is immutable"),
    ("self.kind == oldSelf.kind", "nodeClassRef.kind is immutable"),
)
SCHEDULE_WITH_DURATION = (
    "self.all(x, has(x.schedule) == has(x.duration))",
    "'schedule' must be set with 'duration'",
)
POOL = (
    (
        "has(self.replicas) == has(oldSelf.replicas)",
        "cannot transition between static (replicas set) and dynamic (replicas unset)"
        " provisioning modes",
    ),
    (
        "!has(self.replicas) || !has(self.limits) || self.limits.all(x, x == 'nodes')",
        "only 'limits.nodes' is supported on static NodePools",
    ),
    (
        "!has(self.replicas) || !has(self.weight)",
        "'weight' is not supported on static NodePools",
    ),
)
