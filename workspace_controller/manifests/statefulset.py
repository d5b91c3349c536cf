"""The StatefulSet of a Workspace: a preset's pods, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apis.kaito.v1beta1.labels import WORKSPACE_REVISION_ANNOTATION
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from presets.engines import registry
from workspace_controller.manifests import (
    adapters,
    containers,
    ownership,
    scheduling,
    security,
    volumes,
    weights,
)
from workspace_controller.manifests.adapters import Bringer
from workspace_controller.manifests.service import headless_name
from workspace_controller.manifests.volumes import Volumes
from workspace_controller.settings import Settings
from workspace_controller.workspace import revision
from workspace_controller.workspace.sizing import Served, Sizing

_IMMUTABLE = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")


def inference_statefulset(
    workspace: Workspace,
    sizing: Sizing,
    settings: Settings,
    live: Manifest | None = None,
    *,
    number: int | None = None,
) -> Manifest:
    """As it should be, of revision `number`. What the API server lets nobody change is taken from
    `live`, so that a StatefulSet of an earlier controller is kept and brought up to date.

    OnDelete: which pod goes when is decided by `workspace.rollout`, which knows what serves.
    A claim of a pod that is gone for good holds a copy of the weights, and goes with it.
    """
    spec = _spec(workspace, sizing, settings)
    if live is not None:
        spec = _keep_immutable(spec, live.get("spec", {}))
        spec["updateStrategy"] = _on_delete(live.get("spec", {}))
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": ownership.child_metadata(
            workspace,
            workspace.metadata.name,
            {WORKSPACE_REVISION_ANNOTATION: str(number or revision.number(workspace))},
        ),
        "spec": spec,
    }


def _spec(workspace: Workspace, sizing: Sizing, settings: Settings) -> Manifest:
    selector = ownership.pod_labels(workspace)
    spec: Manifest = {
        "replicas": sizing.need.nodes,
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},
        "serviceName": headless_name(workspace),
        "selector": {"matchLabels": selector},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
    }
    if sizing.served is None:
        return {**spec, "template": _own_template(workspace, sizing, settings)}
    spec["template"] = _preset_template(workspace, sizing, sizing.served, settings)
    if claims := weights.claim_templates(sizing.served.source, selector):
        spec["volumeClaimTemplates"] = claims
    return spec


def _keep_immutable(spec: Manifest, live: Mapping[str, Any]) -> Manifest:
    kept = {key: live[key] for key in _IMMUTABLE if key in live}
    selector = (kept.get("selector") or {}).get("matchLabels") or {}
    template = spec["template"]
    metadata = template["metadata"]
    labelled = {**template, "metadata": {**metadata, "labels": {**metadata["labels"], **selector}}}
    return {**spec, **kept, "template": labelled}


def _on_delete(live: Mapping[str, Any]) -> Manifest:
    """The parameters of the strategy that was there before are taken away with it: the API
    server refuses the one with the other's."""
    before = live.get("updateStrategy") or {}
    return {"type": "OnDelete", **({"rollingUpdate": None} if "rollingUpdate" in before else {})}


def _preset_template(
    workspace: Workspace, sizing: Sizing, served: Served, settings: Settings
) -> Manifest:
    images = containers.Images(settings.registry, settings.image_tag)
    engine = registry.ENGINES[served.fit.engine]
    mounts = _volumes(workspace, sizing, served, images, settings)
    pod: Manifest = {
        "affinity": _affinity(workspace, sizing, settings),
        "tolerations": scheduling.tolerations(settings.cloud.tolerations),
        "containers": [containers.serving(workspace, sizing, served, images, mounts)],
        "volumes": list(mounts.volumes),
        "terminationGracePeriodSeconds": engine.termination_seconds,
        **security.pod(),
    }
    if mounts.init_containers:
        pod["initContainers"] = list(mounts.init_containers)
    if secrets := dict.fromkeys((*containers.pull_secrets(workspace), *mounts.pull_secrets)):
        pod["imagePullSecrets"] = [{"name": name} for name in secrets]
    metadata: Manifest = {"labels": ownership.pod_labels(workspace)}
    hot = adapters.taken_at_run_time(workspace, served.model, served.fit)
    if said := adapters.template_annotations(workspace, hot=hot):
        metadata["annotations"] = said
    return {"metadata": metadata, "spec": pod}


def _volumes(
    workspace: Workspace,
    sizing: Sizing,
    served: Served,
    images: containers.Images,
    settings: Settings,
) -> Volumes:
    inference = workspace.inference
    engine = registry.ENGINES[served.fit.engine]
    found = weights.volumes(
        served.source,
        image=images.tools(engine),
        endpoint=settings.weights.endpoint,
        insecure_registries=settings.insecure_registries,
    )
    found += volumes.shared_memory(containers.shared_memory_mib(sizing.need.shape, served.fit))
    if inference is not None:
        found += volumes.config(inference.config if engine.reads_config else "")
    found += volumes.api_keys(workspace)
    return found + adapters.volumes(
        workspace,
        served.model,
        served.fit,
        Bringer(
            image=images.tools(engine),
            token_secret=served.source.token_secret,
            endpoint=settings.weights.endpoint,
            insecure_registries=settings.insecure_registries,
        ),
    )


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
    to_nodes = scheduling.node_affinity(settings.nodes.reach(workspace))
    if to_nodes is not None:
        affinity["nodeAffinity"] = to_nodes
    if apart and sizing.need.nodes > 1:
        affinity["podAntiAffinity"] = scheduling.apart(ownership.pod_labels(workspace))
    return affinity
