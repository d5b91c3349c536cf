"""The StatefulSet of a Workspace: a preset's pods, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apis.kaito.v1beta1.labels import WORKSPACE_REVISION_ANNOTATION
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from workspace_controller.manifests import adapters, containers, ownership, scheduling, volumes
from workspace_controller.manifests.service import headless_name
from workspace_controller.manifests.volumes import Volumes
from workspace_controller.settings import Settings
from workspace_controller.workspace import revision, weights
from workspace_controller.workspace.sizing import Served, Sizing

_IMMUTABLE = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")


def inference_statefulset(
    workspace: Workspace, sizing: Sizing, settings: Settings, live: Manifest | None = None
) -> Manifest:
    """As it should be. What the API server lets nobody change is taken from `live`, so that a
    StatefulSet of an earlier controller is kept and brought up to date."""
    if sizing.served is None:
        template = _own_template(workspace, sizing, settings)
    else:
        template = _preset_template(workspace, sizing, sizing.served, settings)
    selector = ownership.pod_labels(workspace)
    spec: Manifest = {
        "replicas": sizing.need.nodes,
        "podManagementPolicy": "Parallel",
        "serviceName": headless_name(workspace),
        "selector": {"matchLabels": selector},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
        "template": template,
    }
    if live is not None:
        spec = _keep_immutable(spec, live.get("spec", {}))
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": ownership.child_metadata(
            workspace,
            workspace.metadata.name,
            {WORKSPACE_REVISION_ANNOTATION: str(revision.number(workspace))},
        ),
        "spec": spec,
    }


def _keep_immutable(spec: Manifest, live: Mapping[str, Any]) -> Manifest:
    kept = {key: live[key] for key in _IMMUTABLE if key in live}
    selector = (kept.get("selector") or {}).get("matchLabels") or {}
    template = spec["template"]
    metadata = template["metadata"]
    labelled = {**template, "metadata": {**metadata, "labels": {**metadata["labels"], **selector}}}
    return {**spec, **kept, "template": labelled}


def _preset_template(
    workspace: Workspace, sizing: Sizing, served: Served, settings: Settings
) -> Manifest:
    images = containers.Images(settings.registry, settings.image_tag)
    mounts = _volumes(workspace, served)
    pod: Manifest = {
        "affinity": _affinity(workspace, sizing, settings),
        "tolerations": scheduling.tolerations(settings.cloud.tolerations),
        "containers": [
            containers.serving(workspace, sizing, served.model, served.fit, images, mounts)
        ],
        "volumes": list(mounts.volumes),
    }
    if mounts.init_containers:
        pod["initContainers"] = list(mounts.init_containers)
    if mounts.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in mounts.pull_secrets]
    return {"metadata": {"labels": ownership.pod_labels(workspace)}, "spec": pod}


def _volumes(workspace: Workspace, served: Served) -> Volumes:
    inference = workspace.inference
    found = volumes.weights(weights.local_directory(workspace))
    if served.fit.engine == "vllm":
        found += volumes.shared_memory()
    if inference is not None:
        found += volumes.config(inference.config)
        found += adapters.adapters(inference.adapters)
    return found


def _own_template(workspace: Workspace, sizing: Sizing, settings: Settings) -> Manifest:
    """The user's pod as it is, on our nodes: our label, affinity to them, and their taints
    tolerated. The affinity between pods stays the user's."""
    given = dict((workspace.inference.template if workspace.inference else None) or {})
    metadata = dict(given.get("metadata") or {})
    pod = dict(given.get("spec") or {})
    pod["affinity"] = {
        **(pod.get("affinity") or {}),
        **_affinity(workspace, sizing, settings, apart=False),
    }
    pod["tolerations"] = [
        *(pod.get("tolerations") or []),
        *scheduling.tolerations(settings.cloud.tolerations),
    ]
    metadata["labels"] = {**(metadata.get("labels") or {}), **ownership.pod_labels(workspace)}
    return {**given, "metadata": metadata, "spec": pod}


def _affinity(
    workspace: Workspace, sizing: Sizing, settings: Settings, *, apart: bool = True
) -> Manifest:
    affinity: Manifest = {}
    to_nodes = scheduling.node_affinity(settings.nodes.node_labels(workspace))
    if to_nodes is not None:
        affinity["nodeAffinity"] = to_nodes
    if apart and sizing.need.nodes > 1:
        affinity["podAntiAffinity"] = scheduling.apart(ownership.pod_labels(workspace))
    return affinity
