"""The verdict on a Workspace manifest, as admission gives it; with or without a cluster."""

from __future__ import annotations

from functools import cache

from pydantic import ValidationError

from apis.definitions import WORKSPACE
from apis.errors import FieldError, describe
from apis.kaito import messages
from apis.kaito.defaults import default
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import Facts, remarks_on, validate_create, validate_update
from kube import crd, schema
from kube.meta import Manifest
from kube.reviews import AdmissionRequest, AdmissionResponse


def validate(request: AdmissionRequest, facts: Facts) -> AdmissionResponse:
    """The answer of the validating webhook.

    Status is our own to write, and what is being deleted must be able to lose its finalizers,
    however invalid it has become.
    """
    if request.operation not in ("CREATE", "UPDATE") or request.subresource or request.deleting:
        return AdmissionResponse.allow()
    old = request.old_object if request.operation == "UPDATE" else None
    errors = refusals(request.object, facts, old)
    if errors:
        return AdmissionResponse.deny(describe(errors))
    # What the remarks are about cannot change later: said once, not at each write of ours.
    said = remarks(request.object, facts) if old is None else []
    return AdmissionResponse.allow(warnings=tuple(map(str, said)))


def mutate(request: AdmissionRequest, *, byo: bool = False) -> AdmissionResponse:
    """The answer of the mutating webhook: what was left out is filled in."""
    if request.operation not in ("CREATE", "UPDATE") or request.subresource or request.deleting:
        return AdmissionResponse.allow()
    meant = default(request.object, stored=request.operation == "UPDATE", byo=byo)
    return AdmissionResponse.mutate(request.object, meant)


def refusals(manifest: Manifest, facts: Facts, old: Manifest | None = None) -> list[FieldError]:
    """What is wrong with creating the manifest, or with making it of `old`.

    What the schema refuses comes alone: rules about fields that are misspelt would only confuse.
    What it refuses of `old` too is let be, as the API server does (validation ratcheting).
    """
    version = str(manifest.get("apiVersion", "")).rpartition("/")[2]
    if version not in _versions():
        known = ", ".join(f"{WORKSPACE.group}/{name}" for name in _versions())
        return [FieldError("apiVersion", f'"{manifest.get("apiVersion", "")}" is none of {known}')]
    stored = set(schema.violations(old, _schema(version))) if old else set()
    malformed = [
        FieldError(*each)
        for each in schema.violations(manifest, _schema(version))
        if each not in stored
    ]
    if "spec" in manifest:
        malformed.append(FieldError("spec", messages.AT_ROOT))
    if malformed:
        return malformed
    try:
        new = Workspace.model_validate(manifest)
        if old is None:
            return validate_create(new, facts)
        return validate_update(Workspace.model_validate(old), new, facts)
    except ValidationError as error:
        return [_unreadable(error)]


def remarks(manifest: Manifest, facts: Facts) -> list[FieldError]:
    """What the manifest, which nothing is wrong with, says without effect."""
    return remarks_on(Workspace.model_validate(manifest), facts)


def _unreadable(error: ValidationError) -> FieldError:
    first = error.errors()[0]
    return FieldError(".".join(map(str, first["loc"])) or "metadata", first["msg"])


def _versions() -> tuple[str, ...]:
    return tuple(version.name for version in WORKSPACE.versions)


@cache
def _schema(version: str) -> Manifest:
    model = next(each.model for each in WORKSPACE.versions if each.name == version)
    return crd.structural_schema(model)
