"""Step: the Secret whose keys open the model is there before a node is paid for. Pure.

A pod whose Secret is absent hangs in ContainerCreating without a word in its status. Secrets are
not watched: this one is asked for in the rounds in which a next pod needs it.
"""

from __future__ import annotations

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube.objects import Secret, Unstructured
from workspace_controller.errors import UserError
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace.observed import Observed

_AGAIN_SECONDS = 10.0


def keys(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Nothing; raises UserError where no pod could start, or nobody would be let in."""
    if seen.missing_keys:
        raise UserError(
            c.RESOURCE_READY,
            c.REASON_API_KEYS_NOT_FOUND,
            seen.missing_keys,
            look_again=_AGAIN_SECONDS,
        )
    return Plan()


def to_ask_for(workspace: Workspace, seen: Observed) -> str:
    """The Secret's name; empty where none is named, or the pods that serve have it."""
    preset = workspace.inference.preset if workspace.inference else None
    name = workspace.metadata.annotations.get(labels.API_KEY_SECRET_ANNOTATION, "")
    serves = workspace.condition(c.INFERENCE_READY).status == "True"
    known = _mounted(seen.stateful_set) if serves else frozenset()
    return "" if preset is None or name in known else name


def missing(workspace: Workspace, name: str, found: Secret | None) -> str:
    """Why it opens nothing; empty where it does."""
    namespace = workspace.metadata.namespace
    at = f"annotation {labels.API_KEY_SECRET_ANNOTATION}: "
    remedy = f"kubectl -n {namespace} create secret generic {name} --from-literal=key=…"
    if found is None:
        return f'{at}there is no Secret "{name}" in namespace "{namespace}": {remedy}'
    if not any(value.strip() for value in found.data.values()):
        return f'{at}Secret "{name}" holds no key, so nobody would be let in; put one there'
    return ""


def _mounted(stateful_set: Unstructured | None) -> frozenset[str]:
    """Secrets of the stored template."""
    template = {} if stateful_set is None else stateful_set.spec.get("template") or {}
    volumes = (template.get("spec") or {}).get("volumes") or ()
    return frozenset((each.get("secret") or {}).get("secretName", "") for each in volumes)
