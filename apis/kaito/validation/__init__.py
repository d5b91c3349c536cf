"""Whether a Workspace is acceptable: object and facts in, field errors out. Pure.

Webhook, CLI and status conditions all ask here, so they say the same in the same words. The ids
(W-C…, W-U…) are those of the rules that KAITO v0.12 has; tests name them. Where upstream would
panic there is an error, and what it checks only on update is checked on creation too.
"""

from __future__ import annotations

from apis.errors import FieldError, describe
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import (
    adapters,
    apikeys,
    inference,
    metadata,
    remarks,
    resource,
    tuning,
    weights,
)
from apis.kaito.validation.facts import Facts

__all__ = ["Facts", "FieldError", "describe", "remarks_on", "validate_create", "validate_update"]

_CREATE = (
    metadata.name,
    metadata.one_workload,
    metadata.annotation_values,
    resource.instance_type,
    resource.selector,
    resource.partition,
    resource.own_nodes,
    inference.preset,
    inference.one_source,
    inference.runtime,
    inference.streaming,
    adapters.adapters,
    inference.config,
    inference.fit,
    weights.source,
    apikeys.secret,
    tuning.resources,
    tuning.preset,
    tuning.method,
    tuning.config,
    tuning.source,
    tuning.destination,
)

_REMARKS = (remarks.reserved_keys, remarks.count, tuning.config_notes)

_UPDATE = (
    metadata.workload_kept,
    metadata.annotations_changed,
    resource.count_kept,
    resource.partition_kept,
    resource.instance_type_kept,
    resource.selector_kept,
    inference.preset_kept,
    inference.template_kept,
    inference.runtime_changed,
    adapters.adapters_changed,
    inference.config_changed,
    weights.source_changed,
    apikeys.secret_changed,
    tuning.preset_kept,
    tuning.method_kept,
    tuning.data_changed,
    tuning.config_changed,
)


def validate_create(workspace: Workspace, facts: Facts) -> list[FieldError]:
    """Everything that is wrong with a new Workspace."""
    return [error for rule in _CREATE for error in rule(workspace, facts)]


def validate_update(old: Workspace, new: Workspace, facts: Facts) -> list[FieldError]:
    """What may not change; and what did change and is wrong.

    What stayed as it was is not judged again, or an object that has become invalid meanwhile
    (a gate flipped, a ConfigMap gone) could neither get status nor lose its finalizer.
    """
    return [error for rule in _UPDATE for error in rule(old, new, facts)]


def remarks_on(workspace: Workspace, facts: Facts) -> list[FieldError]:
    """What a new Workspace says that has no effect."""
    return [remark for rule in _REMARKS for remark in rule(workspace, facts)]
