"""The verdict on a manifest of ours, as admission gives it; with or without a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from apis.definitions import RAG_ENGINE, WORKSPACE
from apis.errors import FieldError, describe
from apis.kaito import messages, validation
from apis.kaito.defaults import default
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation import Facts, rag
from apis.model import ApiObject
from kube import crd, schema
from kube.meta import Manifest
from kube.reviews import AdmissionRequest, AdmissionResponse


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind is judged: each of the functions takes its models, in the storage version."""

    definition: crd.Definition
    model: type[ApiObject]
    create: Callable[[Any, Facts], list[FieldError]]
    update: Callable[[Any, Any, Facts], list[FieldError]]
    remarks: Callable[[Any, Facts], list[FieldError]]
    changes: Callable[[Any, Any, Facts], list[FieldError]]
    """What to remark on where one becomes another."""


def _nothing(*_: object) -> list[FieldError]:
    """Of Workspaces: what the remarks are about cannot change later."""
    return []


_KINDS = {
    "Workspace": _Kind(
        WORKSPACE,
        Workspace,
        validation.validate_create,
        validation.validate_update,
        validation.remarks_on,
        _nothing,
    ),
    "RAGEngine": _Kind(
        RAG_ENGINE,
        RAGEngine,
        rag.validate_create,
        rag.validate_update,
        rag.remarks_on_create,
        rag.remarks_on_update,
    ),
}


def validate(request: AdmissionRequest, facts: Facts) -> AdmissionResponse:
    """The answer of the validating webhook.

    Status is our own to write, and what is being deleted must be able to lose its finalizers,
    however invalid it has become.
    """
    if request.operation not in ("CREATE", "UPDATE") or request.subresource or request.deleting:
        return AdmissionResponse.allow()
    errors = refusals(request.object, facts, _stored(request))
    if errors:
        return AdmissionResponse.deny(describe(errors))
    said = remarks(request.object, facts, _stored(request))
    return AdmissionResponse.allow(warnings=tuple(map(str, said)))


def mutate(request: AdmissionRequest, *, byo: bool = False) -> AdmissionResponse:
    """The answer of the mutating webhook: what was left out is filled in."""
    if request.operation not in ("CREATE", "UPDATE") or request.subresource or request.deleting:
        return AdmissionResponse.allow()
    meant = default(request.object, old=_stored(request), byo=byo)
    return AdmissionResponse.mutate(request.object, meant)


def refusals(manifest: Manifest, facts: Facts, old: Manifest | None = None) -> list[FieldError]:
    """What is wrong with creating the manifest, or with making it of `old`.

    What the schema refuses comes alone: rules about fields that are misspelt would only confuse.
    What it refuses of `old` too is let be, as the API server does (validation ratcheting).
    """
    kind = _KINDS[manifest["kind"]]
    version = str(manifest.get("apiVersion", "")).rpartition("/")[2]
    versions = [each.name for each in kind.definition.versions]
    if version not in versions:
        known = ", ".join(f"{kind.definition.group}/{name}" for name in versions)
        return [FieldError("apiVersion", f'"{manifest.get("apiVersion", "")}" is none of {known}')]
    malformed = _malformed(manifest, _schema(manifest["kind"], version), old)
    if malformed:
        return malformed
    try:
        new = kind.model.model_validate(manifest)
        if old is None:
            return kind.create(new, facts)
        return kind.update(kind.model.model_validate(old), new, facts)
    except ValidationError as error:
        return [_unreadable(error)]


def remarks(manifest: Manifest, facts: Facts, old: Manifest | None = None) -> list[FieldError]:
    """What the manifest, which nothing is wrong with, says without effect; of one that replaces
    `old`, what is new about that. Our own writes are not remarked on."""
    kind = _KINDS[manifest["kind"]]
    new = kind.model.model_validate(manifest)
    if old is None:
        return kind.remarks(new, facts)
    return kind.changes(kind.model.model_validate(old), new, facts)


def _stored(request: AdmissionRequest) -> Manifest | None:
    return request.old_object if request.operation == "UPDATE" else None


def _malformed(manifest: Manifest, described: Manifest, old: Manifest | None) -> list[FieldError]:
    stored = set(schema.violations(old, described)) if old else set()
    found = [
        FieldError(*each) for each in schema.violations(manifest, described) if each not in stored
    ]
    if manifest["kind"] == "Workspace" and "spec" in manifest:
        found.append(FieldError("spec", messages.AT_ROOT))
    return found


def _unreadable(error: ValidationError) -> FieldError:
    first = error.errors()[0]
    return FieldError(".".join(map(str, first["loc"])) or "metadata", first["msg"])


@cache
def _schema(kind: str, version: str) -> Manifest:
    versions = _KINDS[kind].definition.versions
    model = next(each.model for each in versions if each.name == version)
    return crd.structural_schema(model)
