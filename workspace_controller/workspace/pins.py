"""Step: at which commit a preset is served that the catalogue has not pinned. Pure.

Nodes take minutes to come; meanwhile Hugging Face is asked for one commit, so that all of them
download the same weights, also those that come later. No node waits for that, and nothing that
runs is ever rolled for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from apis.kaito.validation.weights import from_presets_repository
from kube.meta import Condition
from kube.objects import Unstructured
from presets import reference
from presets.catalog import Catalog
from presets.model import Model
from presets.reference import MAIN
from workspace_controller.plan import Event, Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import models
from workspace_controller.workspace.models import Commit, Pending, Question, Refused
from workspace_controller.workspace.observed import Observed

PINNED_ANNOTATION = "kaito.sh/pinned-commit"
"""On the Workspace: `owner/model@<commit>`, from which its weights come; `owner/model@main` where
nobody said in time. The controller's, and the user's to move."""

PATIENCE_SECONDS = 20.0
"""How long nodes that are ready wait for an answer."""

REASON_PENDING = "ModelCommitPending"
EVENT_NOT_PINNED = "ModelNotPinned"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = "--revision="


def question(workspace: Workspace, catalog: Catalog) -> Question | None:
    """None where the commit is known, or settled not to be, or the weights come from elsewhere."""
    model = models.known(workspace, catalog)
    if model is None or model.revision or not from_presets_repository(workspace):
        return None
    if _said(workspace, model):
        return None
    secret = models.access_secret(workspace)
    return Question(
        model.hf_id,
        workspace.metadata.namespace,
        secret,
        commit_alone=True,
        section=models.section(workspace),
    )


def as_pinned(workspace: Workspace, model: Model, seen: Observed) -> Model:
    """The model at the commit that was settled for the Workspace; else the catalogue's."""
    found = _said(workspace, model)
    if not found and not model.revision:
        found = _running(seen.workload, model) or _answered(seen)
    if not _COMMIT.fullmatch(found):
        return model
    return msgspec.structs.replace(model, revision=found)


def pinning(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Writes the commit down before the first pod; waits a little for it, once nodes are ready."""
    model = models.known(workspace, settings.catalog)
    if model is None or question(workspace, settings.catalog) is None:
        return Plan()
    if found := _running(seen.workload, model) or _answered(seen):
        return _settled(model, found)
    if isinstance(seen.pin, Refused):
        return _given_up(model, seen.pin.message)
    if not isinstance(seen.pin, Pending):
        return Plan()
    left = PATIENCE_SECONDS - _waited(workspace, seen)
    return _waiting(workspace, seen.pin, left) if left > 0 else _given_up(model, seen.pin.message)


def _settled(model: Model, revision: str) -> Plan:
    return Plan(annotations={PINNED_ANNOTATION: f"{model.hf_id}@{revision}"})


def _given_up(model: Model, why: str) -> Plan:
    """Written down too: an answer that comes now must not roll what has just been started."""
    told = Event(
        "Warning",
        EVENT_NOT_PINNED,
        f"the weights are those of {model.hf_id} as its main branch is when a node downloads them:"
        f" {why}; to pin them, annotate with {PINNED_ANNOTATION}={model.hf_id}@<commit>",
    )
    return _settled(model, MAIN) + Plan(events=(told,))


def _waiting(workspace: Workspace, pending: Pending, left: float) -> Plan:
    told = Condition(
        type=c.INFERENCE_READY if workspace.tuning is None else c.JOB_STARTED,
        status="False",
        reason=REASON_PENDING,
        message=f"{pending.message}; without an answer the pods start unpinned,"
        f" {PATIENCE_SECONDS:g} s after the nodes were ready",
    )
    return Plan(
        conditions=(told,), waits_for=REASON_PENDING, look_again=min(left, pending.look_again)
    )


def _waited(workspace: Workspace, seen: Observed) -> float:
    """Since when all nodes are ready stands in the status, where a restart finds it too."""
    ready = workspace.condition(c.RESOURCE_READY)
    if ready.status != "True" or ready.last_transition_time is None:
        return 0.0
    return (seen.now - ready.last_transition_time).total_seconds()


def _said(workspace: Workspace, model: Model) -> str:
    """The commit of the annotation, or `main`; empty where it is not about this model."""
    found = reference.parse(workspace.metadata.annotations.get(PINNED_ANNOTATION, ""))
    if found is None or found.repository != model.hf_id:
        return ""
    return found.revision if found.revision == MAIN or _COMMIT.fullmatch(found.revision) else ""


def _answered(seen: Observed) -> str:
    return seen.pin.value if isinstance(seen.pin, Commit) else ""


def _running(live: Unstructured | None, model: Model) -> str:
    """The commit that the stored pods download: it stays, should the annotation be lost."""
    arguments = set(_download(live))
    if f"--repository={model.hf_id}" not in arguments:
        return ""
    return next(
        (each.removeprefix(_REVISION) for each in arguments if each.startswith(_REVISION)), ""
    )


def _download(live: Unstructured | None) -> Iterable[str]:
    pod = (live.spec.get("template") or {}).get("spec") or {} if live is not None else {}
    for container in pod.get("initContainers") or ():
        if container.get("name") == "weights":
            yield from container.get("args") or ()
