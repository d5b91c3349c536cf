"""Which pods are as they should be: by a hash that template and pods carry. Pure.

Everything that a pod is started with goes in, the content of the user's ConfigMap included. What
the engine takes while it runs (adapters) stays out, or loading one would restart it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from kube.meta import Manifest
from workspace_controller.manifests.adapters import ADAPTERS_ANNOTATION, is_hot

POD_HASH_ANNOTATION = "kaito.sh/pod-hash"

_NOT_STARTED_WITH = (POD_HASH_ANNOTATION, ADAPTERS_ANNOTATION)


def pod_hash(template: Mapping[str, Any], config: Mapping[str, str] | None) -> str:
    """Of the pod template, and of the ConfigMap's data where one is in use."""
    parts = [_cold(template), dict(config) if config is not None else None]
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def with_pod_hash(workload: Manifest, value: str) -> Manifest:
    """The same workload; its template, and so its pods, carry the hash."""
    template = workload["spec"]["template"]
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), POD_HASH_ANNOTATION: value}
    marked = {**template, "metadata": {**metadata, "annotations": annotations}}
    return {**workload, "spec": {**workload["spec"], "template": marked}}


def hash_of(template: Mapping[str, Any] | None) -> str:
    """What a stored template carries; empty where it carries none."""
    metadata = (template or {}).get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(POD_HASH_ANNOTATION, ""))


def _cold(template: Mapping[str, Any]) -> Manifest:
    """The template without its hot parts."""
    metadata = dict(template.get("metadata") or {})
    annotations = metadata.pop("annotations", None) or {}
    kept = {key: value for key, value in annotations.items() if key not in _NOT_STARTED_WITH}
    pod = dict(template.get("spec") or {})
    for_hot = _secrets_of_hot(pod.get("volumes") or ())
    pod["imagePullSecrets"] = [
        each for each in pod.get("imagePullSecrets") or () if each.get("name") not in for_hot
    ]
    pod["containers"] = [_unmounted(each) for each in pod.get("containers") or ()]
    for field in ("volumes", "initContainers"):
        pod[field] = _without_hot(pod.get(field) or ())
    return {"metadata": {**metadata, "annotations": kept}, "spec": pod}


def _secrets_of_hot(volumes: Iterable[Mapping[str, Any]]) -> set[str]:
    """The pull secrets that the pod has for its adapters' sake."""
    hot = (each for each in volumes if is_hot(str(each.get("name", ""))))
    return {(each.get("secret") or {}).get("secretName", "") for each in hot}


def _unmounted(container: Mapping[str, Any]) -> Manifest:
    return {**container, "volumeMounts": _without_hot(container.get("volumeMounts") or ())}


def _without_hot(named: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [each for each in named if not is_hot(str(each.get("name", "")))]
