"""The StatefulSet of a Workspace with the hash of its pods, and what an edit of it means. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from apis.kaito.v1beta1.labels import SURGE_ANNOTATION
from apis.kaito.v1beta1.workspace import Workspace
from kube import quantity
from kube.meta import Manifest
from kube.objects import STATEFUL_SETS, manifest_of
from workspace_controller.manifests import podhash, service
from workspace_controller.manifests.adapters import ADAPTERS_ANNOTATION
from workspace_controller.manifests.statefulset import inference_statefulset
from workspace_controller.nodes.provisioner import user_labels
from workspace_controller.settings import Settings
from workspace_controller.workspace import revision, sizing, tuningrun, tuningsize
from workspace_controller.workspace.children import as_edited
from workspace_controller.workspace.effects import Meaning
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.sizing import Sizing

NODES_ANNOTATION = "kaito.sh/nodes"
"""On the StatefulSet: over how many nodes the engine lies; replicas are more in a rollout."""

NO_ROOM_ANNOTATION = "kaito.sh/no-room-for"
"""On the StatefulSet: the pod hash for which no second pod could be placed beside the first."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The StatefulSet as it should be, but for what a rollout decides. `scaled_by_hand`: somebody
    else has said how many pods there are."""

    manifest: Manifest
    pod_hash: str
    scaled_by_hand: bool


def workload(workspace: Workspace, seen: Observed, sized: Sizing, settings: Settings) -> Workload:
    """From what is there, edits by hand included: a pod that they change is another pod."""
    live = live_manifest(seen)
    number = revision.number(workspace, seen.revisions)
    desired = inference_statefulset(workspace, sized, settings, live, number=number)
    annotations = {**desired["metadata"]["annotations"], NODES_ANNOTATION: str(sized.need.nodes)}
    desired = {**desired, "metadata": {**desired["metadata"], "annotations": annotations}}
    settled = as_edited(desired, seen.stateful_set)
    named = bool(workspace.inference and workspace.inference.config)
    config = seen.config.data if named and seen.config is not None else None
    value = podhash.pod_hash(settled.effective["spec"]["template"], config)
    scaled = any("spec.replicas" in edit.fields for edit in settled.edits)
    return Workload(podhash.with_pod_hash(desired, value), value, scaled)


def meaning(workspace: Workspace, seen: Observed, settings: Settings) -> Meaning | None:
    """What the Workspace asks of nodes and pods; None while no node is there to tell its shape.
    Raises UserError where it can never work."""
    if workspace.tuning is not None:
        return _of_tuning(workspace, seen, settings)
    sized = sizing.size(workspace, seen, settings)
    if sized is None:
        return None
    found = of_manifest(workload(workspace, seen, sized, settings).manifest)
    return msgspec.structs.replace(
        found,
        instance_type=sized.need.shape.instance_type,
        node_labels=user_labels(workspace),
        endpoint=service.kind(workspace),
    )


def _of_tuning(workspace: Workspace, seen: Observed, settings: Settings) -> Meaning | None:
    """Another run is another pod."""
    tuned = tuningsize.size(workspace, seen, settings)
    if tuned is None:
        return None
    return Meaning(
        nodes=tuned.need.nodes,
        pod_hash=tuningrun.of(workspace, seen).wanted,
        instance_type=tuned.need.shape.instance_type,
        node_labels=user_labels(workspace),
    )


def of_manifest(found: Manifest) -> Meaning:
    """What a StatefulSet asks for, desired or stored; nodes are 0 where it does not say."""
    annotations = (found.get("metadata") or {}).get("annotations") or {}
    template = found["spec"].get("template") or {}
    said = (template.get("metadata") or {}).get("annotations") or {}
    return Meaning(
        nodes=quantity.count(annotations.get(NODES_ANNOTATION, "")) or 0,
        pod_hash=podhash.hash_of(template),
        hot=said.get(ADAPTERS_ANNOTATION, ""),
    )


def surges(workspace: Workspace) -> bool:
    """Whether a second pod may come up beside the first."""
    return workspace.metadata.annotations.get(SURGE_ANNOTATION, "").lower() != "false"


def live_manifest(seen: Observed) -> Manifest | None:
    """The StatefulSet that is there, as the API server shows it."""
    found = seen.stateful_set
    return None if found is None else manifest_of(found, STATEFUL_SETS)
