"""The rules on NodeClaim and NodePool that their CRDs state in CEL, in Python. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from pydantic import BaseModel, ValidationError

from apis.errors import Errors, FieldError
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim, NodeClassRef, NodeSelectorRequirement
from apis.karpenter.v1.nodepool import NodePool
from kube import crd, schema
from kube.meta import Manifest

_BOUNDS = ("Gt", "Lt", "Gte", "Lte")


def refusals(manifest: Manifest) -> list[FieldError]:
    """What is wrong with creating the NodeClaim or NodePool."""
    model = NodePool if manifest.get("kind") == "NodePool" else NodeClaim
    wanted = model.model_fields["api_version"].default
    if manifest.get("apiVersion") != wanted:
        given = manifest.get("apiVersion", "")
        return [FieldError("apiVersion", f'"{given}" is not {wanted}')]
    malformed = schema.violations(manifest, _schema(model))
    if malformed:
        return [FieldError(*each) for each in malformed]
    try:
        read = model.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        return [FieldError(".".join(map(str, first["loc"])) or "metadata", first["msg"])]
    return list(_pool(read) if isinstance(read, NodePool) else _claim(read))


def _claim(claim: NodeClaim) -> Errors:
    yield from _named(claim.metadata.name or claim.metadata.generate_name)
    yield from _node_class("spec.nodeClassRef", claim.spec.node_class_ref)
    yield from _requirements("spec.requirements", claim.spec.requirements)


def _pool(pool: NodePool) -> Errors:
    template = pool.spec.template
    yield from _named(pool.metadata.name or pool.metadata.generate_name)
    yield from _node_class("spec.template.spec.nodeClassRef", template.spec.node_class_ref)
    path = "spec.template.spec.requirements"
    yield from _requirements(path, template.spec.requirements)
    for at, requirement in enumerate(template.spec.requirements):
        if requirement.key == labels.NODEPOOL_LABEL:
            yield FieldError(f"{path}[{at}].key", f'label "{labels.NODEPOOL_LABEL}" is restricted')
    for key in template.metadata.labels:
        reason = labels.restricted(key)
        if key == labels.NODEPOOL_LABEL:
            reason = f'label "{key}" is restricted'
        if reason:
            yield FieldError(f"spec.template.metadata.labels[{key}]", reason)
    yield from _static(pool)
    for at, budget in enumerate(pool.spec.disruption.budgets):
        if (budget.schedule is None) != (budget.duration is None):
            yield FieldError(
                f"spec.disruption.budgets[{at}]", "'schedule' must be set with 'duration'"
            )


def _named(name: str) -> Errors:
    if not name:
        yield FieldError("metadata.name", "must be set")


def _node_class(path: str, reference: NodeClassRef) -> Errors:
    for field in ("group", "kind", "name"):
        if not getattr(reference, field):
            yield FieldError(f"{path}.{field}", f"{field} may not be empty")


def _requirements(path: str, given: Iterable[NodeSelectorRequirement]) -> Errors:
    for at, requirement in enumerate(given):
        reason = labels.restricted(requirement.key)
        if reason:
            yield FieldError(f"{path}[{at}].key", reason)
        values = requirement.values
        if requirement.operator == "In" and not values:
            yield FieldError(
                f"{path}[{at}].values", "requirements with operator 'In' must have a value defined"
            )
        if requirement.operator in _BOUNDS and not _one_number(values):
            yield FieldError(
                f"{path}[{at}].values",
                f"operator {requirement.operator!r} must have a single positive integer value",
            )
        least = requirement.min_values
        if requirement.operator == "In" and least is not None and len(values) < least:
            yield FieldError(
                f"{path}[{at}].minValues", f"{least} is more than the {len(values)} values given"
            )


def _one_number(values: tuple[str, ...]) -> bool:
    return len(values) == 1 and values[0].isdecimal()


def _static(pool: NodePool) -> Errors:
    if pool.spec.replicas is None:
        return
    if set(pool.spec.limits) - {"nodes"}:
        yield FieldError("spec.limits", "only 'limits.nodes' is supported on static NodePools")
    if pool.spec.weight is not None:
        yield FieldError("spec.weight", "'weight' is not supported on static NodePools")


@cache
def _schema(model: type[BaseModel]) -> Manifest:
    return crd.structural_schema(model)
