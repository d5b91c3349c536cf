"""Which model a preset's name stands for: known here, remembered on the Workspace, or asked for.

The catalogue answers at once. Any other name is a repository of Hugging Face, whose answer takes
time: it is asked for in the background (`workspace_controller.models`), and kept on the
Workspace, so that a restart needs no network and the weights stay those of one commit. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import PresetSpec, Workspace
from presets import reference
from presets.catalog import Catalog, UnknownModelError
from presets.model import Model
from workspace_controller.errors import UserError

RESOLVED_ANNOTATION = "kaito.sh/resolved-model"
"""On the Workspace: the Model as JSON, where the catalogue does not have it. Ours."""

REASON_PENDING = "ModelDescriptionPending"
REASON_REFUSED = "InvalidPreset"

_NAME = "preset.name"
_SECRET = "preset.presetOptions.modelAccessSecret"  # noqa: S105  # a field
NAME_PATH = f"inference.{_NAME}"
SECRET_PATH = f"inference.{_SECRET}"


@dataclass(frozen=True, slots=True)
class Question:
    """What must be asked of Hugging Face: a name, and whose token opens it."""

    name: str
    namespace: str
    secret: str = ""
    commit_alone: bool = False
    """Of a model that the catalogue describes, only where its main branch is."""
    section: str = "inference"
    """Where the preset stands in the Workspace."""

    @property
    def name_path(self) -> str:
        return f"{self.section}.{_NAME}"

    @property
    def secret_path(self) -> str:
        return f"{self.section}.{_SECRET}"


@dataclass(frozen=True, slots=True)
class Commit:
    """Where a repository's main branch is."""

    value: str


@dataclass(frozen=True, slots=True)
class Pending:
    """There is no answer yet; `look_again` in seconds."""

    message: str
    look_again: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Only the user can mend it: `path` is the field that is wrong. What the field names may be
    mended too (a Secret, a licence), hence `look_again`."""

    path: str
    message: str
    look_again: float


Answer: TypeAlias = Model | Commit | Pending | Refused


def preset(workspace: Workspace) -> PresetSpec | None:
    """The model to serve, or to tune; None where the pods are the user's own."""
    work = workspace.inference or workspace.tuning
    return work.preset if work is not None else None


def section(workspace: Workspace) -> str:
    """Where the preset stands."""
    return "inference" if workspace.tuning is None else "tuning"


def preset_name(workspace: Workspace) -> str:
    """As the user wrote it; empty where the pods are the user's own."""
    found = preset(workspace)
    return found.name if found else ""


def question(workspace: Workspace, catalog: Catalog) -> Question | None:
    """None where nobody need be asked, or where the name can be no repository."""
    name = preset_name(workspace)
    if not name or known(workspace, catalog) is not None or reference.parse(name) is None:
        return None
    return Question(
        name.strip(),
        workspace.metadata.namespace,
        access_secret(workspace),
        section=section(workspace),
    )


def access_secret(workspace: Workspace) -> str:
    """The Secret whose token opens the preset; empty where none is named."""
    found = preset(workspace)
    return found.preset_options.model_access_secret if found else ""


def model(workspace: Workspace, answer: Answer | None, catalog: Catalog) -> Model | None:
    """The model of the Workspace's preset, or None while it is asked for.

    Raises UserError where there is none. What the Workspace remembers comes before the
    catalogue: a later release that knows the model must not change what runs.
    """
    found = known(workspace, catalog)
    if found is not None:
        return found
    if isinstance(answer, Refused):
        message = f"{answer.path}: {answer.message}"
        raise UserError(c.RESOURCE_READY, REASON_REFUSED, message, look_again=answer.look_again)
    if answer is None:
        try:
            return catalog.get(preset_name(workspace))
        except UnknownModelError as error:
            message = f"{section(workspace)}.{_NAME}: {error}"
            raise UserError(c.RESOURCE_READY, REASON_REFUSED, message) from error
    return answer if isinstance(answer, Model) else None


def annotation(workspace: Workspace, answer: Answer | None, catalog: Catalog) -> dict[str, str]:
    """What is to be remembered and is not yet."""
    if not isinstance(answer, Model) or known(workspace, catalog) is not None:
        return {}
    return {RESOLVED_ANNOTATION: encode(answer)}


def encode(found: Model) -> str:
    return msgspec.json.encode(found).decode()


def remembered(workspace: Workspace) -> Model | None:
    """What is written on the Workspace, if it can be read and is the model of that name."""
    text = workspace.metadata.annotations.get(RESOLVED_ANNOTATION, "")
    if not text:
        return None
    try:
        found = msgspec.json.decode(text, type=Model)
    except (msgspec.DecodeError, ValueError):
        return None
    name = preset_name(workspace).strip().casefold()
    return found if name in {found.hf_id.casefold(), *found.aliases} else None


def known(workspace: Workspace, catalog: Catalog) -> Model | None:
    """The model where nobody need be asked what it is like."""
    return remembered(workspace) or catalog.lookup(preset_name(workspace))
