"""The Deployment of a RAGEngine, and the guardrails policy that is made for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apis import container
from apis.kaito import objectstores, ragsettings
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.karpenter.v1.labels import HOSTNAME_LABEL
from kube.meta import Manifest
from workspace_controller import marks
from workspace_controller.manifests import (
    containers,
    ownership,
    probes,
    ragenvironment,
    ragvolumes,
    scheduling,
    security,
)
from workspace_controller.nodes.provisioner import NodeShape
from workspace_controller.settings import Settings

CONTAINER = "ragengine"

STARTUP_SECONDS = 4 * 60 * 60
"""To fetch a model and to embed all indexes anew with it: a million passages take a CPU hours."""
_STARTUP_PERIOD_SECONDS = 5
_LONGER_THAN_STARTUP = 10 * 60
_GRACE_SECONDS = 60
_UPLOAD_SECONDS = 4 * 60
"""For the last snapshot, of what an object store does not have yet: gigabytes at a slow one."""
_WITHDRAWN_SECONDS = 5
"""For proxies to learn that a pod is going, before it stops to listen; and, of the next one, that
it is there."""

_LOCAL_REQUESTS = {"cpu": "500m", "memory": "1Gi"}
"""With a small model and some ten thousand passages. No limits: more passages need more."""
_REMOTE_REQUESTS = {"cpu": "100m", "memory": "512Mi"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pod runs. `shape` is None where there is room, on any node."""

    shape: NodeShape | None
    gap: str = ""
    """Why no second pod comes up beside the first; empty where one does."""


def deployment(
    engine: RAGEngine,
    place: Place,
    settings: Settings,
    live: Mapping[str, Any] | None = None,
    chosen: Mapping[str, str] = ragenvironment.NOTHING,
) -> Manifest:
    """As it should be. `live` is the spec of what is there, whose selector can never change;
    `chosen` is the data of the settings that it names."""
    selector = ownership.pod_labels(engine)
    kept = ((live or {}).get("selector") or {}).get("matchLabels") or selector
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": ownership.child_metadata(engine, engine.metadata.name),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": dict(kept)},
            "strategy": _strategy(engine, place),
            "minReadySeconds": _WITHDRAWN_SECONDS,
            "progressDeadlineSeconds": STARTUP_SECONDS + _LONGER_THAN_STARTUP,
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {"labels": {**kept, **marks.of(engine).on_claim(engine)}},
                "spec": _pod(engine, place, settings, chosen),
            },
        },
    }


def _strategy(engine: RAGEngine, place: Place) -> Manifest:
    """What an object store alone keeps is whole only once the pod before has ended: even without a
    surge a RollingUpdate makes the next pod while that one still uploads, and what it uploads then
    the next one has not read."""
    if objectstores.alone(engine):
        return {"type": "Recreate"}
    surge = {"maxSurge": 0, "maxUnavailable": 1} if place.gap else {"maxSurge": 1}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, **surge}}


def gpu(engine: RAGEngine, shape: NodeShape | None) -> dict[str, str]:
    """What the pod asks of its node's GPUs: one, for an embedding model of its own."""
    if shape is None or not shape.gpu.count or ragenvironment.local(engine) is None:
        return {}
    return {shape.gpu_resource: "1"}


def policy_name(engine: RAGEngine) -> str:
    """Of the ConfigMap with the release's policy, since no pod mounts another namespace's."""
    return f"{engine.metadata.name}-guardrails"


def policy(engine: RAGEngine, data: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": ownership.child_metadata(engine, policy_name(engine)),
        "data": dict(data),
    }


def _pod(
    engine: RAGEngine, place: Place, settings: Settings, chosen: Mapping[str, str]
) -> Manifest:
    mounts = ragvolumes.volumes_of(engine, policy_name(engine), chosen)
    pod_security = security.pod()
    uploads = _UPLOAD_SECONDS if objectstores.asked(engine) else 0
    return {
        **_where(engine, settings),
        "containers": [_container(engine, place, settings, chosen, list(mounts.mounts))],
        "volumes": list(mounts.volumes),
        "terminationGracePeriodSeconds": _GRACE_SECONDS + uploads,
        **pod_security,
        "securityContext": {**pod_security["securityContext"], **security.WRITES},
    }


def _container(
    engine: RAGEngine,
    place: Place,
    settings: Settings,
    chosen: Mapping[str, str],
    mounts: list[Manifest],
) -> Manifest:
    gpus = gpu(engine, place.shape)
    computes = ragenvironment.local(engine) is not None or ragsettings.fetches_reranker(chosen)
    requests = _LOCAL_REQUESTS if computes else _REMOTE_REQUESTS
    return {
        "name": CONTAINER,
        "image": containers.Images(settings.registry, settings.image_tag).rag,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": ragenvironment.variables(engine, settings, chosen),
        "ports": [{"name": "http", "containerPort": container.PORT, "protocol": "TCP"}],
        "resources": {"requests": {**requests, **gpus}, **({"limits": gpus} if gpus else {})},
        "securityContext": security.errand(),
        "volumeMounts": mounts,
        "lifecycle": {"preStop": {"exec": {"command": _pause()}}},
        "startupProbe": {
            **probes.startup(STARTUP_SECONDS),
            "periodSeconds": _STARTUP_PERIOD_SECONDS,
            "failureThreshold": STARTUP_SECONDS // _STARTUP_PERIOD_SECONDS,
        },
        "readinessProbe": probes.readiness(),
        "livenessProbe": probes.liveness(container.RAG_LIVE_PATH),
    }


def _pause() -> list[str]:
    """The image has no `sleep`, and not every cluster knows the handler of that name."""
    return ["python", "-c", f"import time; time.sleep({_WITHDRAWN_SECONDS})"]


def _where(engine: RAGEngine, settings: Settings) -> Manifest:
    """Without compute it runs where there is room, but not on the nodes that are paid for their
    GPUs: it tolerates none of their taints."""
    affinity: Manifest = {}
    found: Manifest = {}
    if engine.resource is not None:
        found["tolerations"] = scheduling.tolerations(settings.cloud.tolerations)
        to_nodes = scheduling.node_affinity(settings.nodes.reach(engine))
        if to_nodes is not None:
            affinity["nodeAffinity"] = to_nodes
        affinity["podAntiAffinity"] = {_REQUIRED: _strangers(engine)}
    if ragenvironment.volume(engine) is not None:
        # The two pods of a rolling change share the files, which is safe on one node alone. The
        # first pod finds none like itself, and goes anywhere: so the scheduler has it.
        own = {"matchLabels": ownership.pod_labels(engine)}
        affinity["podAffinity"] = {_REQUIRED: [{"labelSelector": own, **_NODE}]}
    return {**({"affinity": affinity} if affinity else {}), **found}


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_NODE = {"topologyKey": HOSTNAME_LABEL}


def _strangers(engine: RAGEngine) -> list[Manifest]:
    """Pods of Workspaces and of other RAGEngines: a node that was asked for is shared with none. It
    holds both ways, so that of several who count on one node the first pod there has it."""
    name, namespace = marks.of(engine).claim
    meta = engine.metadata
    others = (
        [_exists(labels.WORKSPACE_LABEL)],
        [_exists(name), {"key": name, "operator": "NotIn", "values": [meta.name]}],
        [_exists(namespace), {"key": namespace, "operator": "NotIn", "values": [meta.namespace]}],
    )
    return [
        {"labelSelector": {"matchExpressions": each}, "namespaceSelector": {}, **_NODE}
        for each in others
    ]


def _exists(key: str) -> Manifest:
    return {"key": key, "operator": "Exists"}
