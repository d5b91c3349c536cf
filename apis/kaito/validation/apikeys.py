"""Rules on the Secret whose keys open the served model (ours: upstream has none)."""

from __future__ import annotations

from collections.abc import Mapping

from apis.errors import Errors, FieldError
from apis.kaito import grammar
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation.facts import Facts

_KEY = labels.API_KEY_SECRET_ANNOTATION
_PATH = f"metadata.annotations[{_KEY}]"


def secret(workspace: Workspace, _: Facts) -> Errors:
    """It can be a Secret's name, and there is a server that asks for keys."""
    given = workspace.metadata.annotations
    if _KEY not in given:
        return
    yield from secret_name(given)
    if workspace.inference is None or workspace.inference.preset is None:
        yield FieldError(
            _PATH,
            "is for a preset that is served; in a template give your server its keys yourself",
        )
    elif labels.runtime(given) == labels.RUNTIME_TGI:
        yield FieldError(
            _PATH,
            f"tgi asks for no keys that lie in files: choose another {labels.RUNTIME_ANNOTATION}",
        )


def secret_name(annotations: Mapping[str, str]) -> Errors:
    """Of any kind that is asked for keys."""
    name = annotations.get(_KEY)
    if name is not None and not grammar.is_subdomain(name):
        yield FieldError(
            _PATH, f'"{name}" is not the name of a Secret: name one in the namespace of this object'
        )


def secret_changed(old: Workspace, new: Workspace, facts: Facts) -> Errors:
    """It may come, go and change, which rolls the pods."""
    keys = (_KEY, labels.RUNTIME_ANNOTATION)
    before, after = old.metadata.annotations, new.metadata.annotations
    if any(before.get(key) != after.get(key) for key in keys):
        yield from secret(new, facts)
