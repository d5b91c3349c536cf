"""Schema keywords that the versions of Workspace share."""

from __future__ import annotations

from typing import Any

from apis.kaito import messages
from apis.model import rules

CONDITION: dict[str, Any] = {
    "type": "object",
    "required": ["lastTransitionTime", "message", "reason", "status", "type"],
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
            "minLength": 1,
            "maxLength": 1024,
            "pattern": r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "message": {"type": "string", "maxLength": 32768},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
    },
}
"""metav1.Condition as KAITO's CRDs have it: reason and message are required."""

PRESERVED: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
}
"""A part of Kubernetes' own API (pod template, volume source), kept whole and not described."""

EARLY_FORM: dict[str, Any] = {
    **PRESERVED,
    "description": "The form of the first articles. The webhook lifts what is in it to the root.",
}
WORKSPACE: dict[str, Any] = rules(
    ("!has(self.spec)", messages.AT_ROOT),
    (
        "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
        f"metadata.name: {messages.NAME}",
    ),
    ("has(self.inference) != has(self.tuning)", messages.ONE_WORKLOAD),
    (
        "has(self.inference) == has(oldSelf.inference)",
        f"inference: {messages.WORKLOAD_KEPT}",
    ),
)
INFERENCE: dict[str, Any] = rules(
    ("has(self.preset) != has(self.template)", messages.ONE_SOURCE),
    (
        "has(self.template) == has(oldSelf.template)",
        f"template: {messages.TEMPLATE_KEPT}",
    ),
)
RESOURCE: dict[str, Any] = rules(
    (
        "has(self.labelSelector.matchExpressions) || has(oldSelf.labelSelector.matchExpressions)"
        " || (has(self.labelSelector.matchLabels) && has(oldSelf.labelSelector.matchLabels)"
        " ? self.labelSelector.matchLabels == oldSelf.labelSelector.matchLabels"
        " : (!has(self.labelSelector.matchLabels) || self.labelSelector.matchLabels.size() == 0)"
        " && (!has(oldSelf.labelSelector.matchLabels)"
        " || oldSelf.labelSelector.matchLabels.size() == 0))",
        f"labelSelector: {messages.SELECTOR_KEPT}",
    ),
)
PARTITIONED_RESOURCE: dict[str, Any] = rules(
    *((each["rule"], each["message"]) for each in RESOURCE["x-kubernetes-validations"]),
    (
        "has(self.partition) == has(oldSelf.partition)",
        f"partition: {messages.PARTITION_KEPT}",
    ),
)
COUNT: dict[str, Any] = rules(("self == oldSelf", messages.COUNT_KEPT))
PARTITION: dict[str, Any] = rules(("self == oldSelf", messages.PARTITION_KEPT))
