"""Rules on where the weights come from (ours: upstream knows only `use-local-weights`)."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import weights
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation.facts import Facts
from apis.kaito.weights import Image, WeightsError

_KEYS = (
    labels.MODEL_WEIGHTS_ANNOTATION,
    labels.MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION,
    labels.USE_LOCAL_WEIGHTS_ANNOTATION,
)


def source(workspace: Workspace, _: Facts) -> Errors:
    """The URL can be followed, says one thing, and there is a preset that it is for."""
    given = workspace.metadata.annotations
    if labels.MODEL_WEIGHTS_ANNOTATION in given and not _served(workspace):
        yield FieldError(
            _path(labels.MODEL_WEIGHTS_ANNOTATION),
            "is for a preset that is served or tuned; a template mounts its volumes itself",
        )
    try:
        found = weights.asked(given)
        weights.pull_secrets(given)
    except WeightsError as error:
        yield FieldError(_path(error.annotation), str(error))
        return
    secrets = labels.MODEL_WEIGHTS_PULL_SECRETS_ANNOTATION
    if secrets in given and not isinstance(found, Image):
        yield FieldError(
            _path(secrets),
            f"is for weights out of a registry; set annotation {labels.MODEL_WEIGHTS_ANNOTATION}"
            " to oci://…, or leave it out",
        )


def source_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """The source may change at any time, which rolls the pods; not to one that cannot be."""
    before, after = old.metadata.annotations, new.metadata.annotations
    if any(before.get(key) != after.get(key) for key in _KEYS):
        yield from source(new, facts)


def from_presets_repository(workspace: Workspace) -> bool:
    """Whether they come from where the preset lies, so that a gated one needs a token."""
    try:
        return weights.asked(workspace.metadata.annotations) == weights.Hub()
    except WeightsError:
        return False


def _served(workspace: Workspace) -> bool:
    work = workspace.inference or workspace.tuning
    return work is not None and work.preset is not None


def _path(annotation: str) -> str:
    return f"metadata.annotations[{annotation}]"
