"""What users are told, for the rules that both the CRD (CEL) and `validation` check.

The same words in both places, so that an answer does not depend on who gave it.
"""

from __future__ import annotations

NAME = (
    "must be a DNS-1123 label: at most 63 characters, lower-case letters, digits and '-',"
    " starting and ending with a letter or digit"
)
ONE_WORKLOAD = "exactly one of inference and tuning must be set"
WORKLOAD_KEPT = "cannot be added or removed after creation; create another Workspace instead"
ONE_SOURCE = "exactly one of preset and template must be set"
TEMPLATE_KEPT = "cannot be added or removed after creation; create another Workspace instead"
COUNT_KEPT = "cannot be changed after creation; create another Workspace instead"
PARTITION_KEPT = (
    "cannot be changed, added or removed after creation; create another Workspace instead"
)
SELECTOR_KEPT = "cannot be changed after creation; create another Workspace instead"
PRESET_KEPT = "cannot be changed after creation; create another Workspace instead"
AT_ROOT = "a Workspace has no spec; put resource, inference and tuning at the root of the object"
