"""What a RAGEngine's container finds mounted. Its root is read-only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apis import container
from apis.kaito import ragsettings
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAGEngine
from workspace_controller.manifests import ragenvironment, volumes
from workspace_controller.manifests.volumes import Volumes, mounted

INDEXES = "indexes"
"""The volume that indexes are kept in: the user's claim, or the pod's own disk."""
_DOCKER_CONFIG = ".dockerconfigjson"


def volumes_of(
    engine: RAGEngine, policy: str, chosen: Mapping[str, str] = ragenvironment.NOTHING
) -> Volumes:
    """`policy` is the ConfigMap of the release's guardrails, `chosen` the data of its settings."""
    found = mounted("tmp", {"emptyDir": {}}, "/tmp")  # noqa: S108  # the container's own
    found += _indexes(engine) + _model(engine, chosen) + _pull_secret(engine)
    return found + _guardrails(engine, policy) + volumes.api_keys(engine)


def _indexes(engine: RAGEngine) -> Volumes:
    asked = ragenvironment.volume(engine)
    source: dict[str, Any] = {"emptyDir": {}}
    if asked is not None:
        source = {"persistentVolumeClaim": {"claimName": asked.persistent_volume_claim}}
    return mounted(INDEXES, source, ragenvironment.mount_path(engine))


def _model(engine: RAGEngine, chosen: Mapping[str, str]) -> Volumes:
    """The node's own copy, or room for what is fetched."""
    own = ragenvironment.local(engine)
    if own is None and not ragsettings.fetches_reranker(chosen):
        return Volumes()
    on_node = engine.metadata.annotations.get(labels.USE_LOCAL_WEIGHTS_ANNOTATION) == "true"
    if own and on_node and own.model_id:
        path = container.local_weights_directory(own.model_id)
        source = {"hostPath": {"path": path, "type": "Directory"}}
        return mounted("embedding-model", source, container.RAG_MODEL_DIR, read_only=True)
    return mounted("embedding-model", {"emptyDir": {}}, container.RAG_MODEL_DIR)


def _pull_secret(engine: RAGEngine) -> Volumes:
    own = ragenvironment.local(engine)
    if own is None or not own.image or not own.image_pull_secret:
        return Volumes()
    items = [{"key": _DOCKER_CONFIG, "path": "config.json"}]
    source = {"secret": {"secretName": own.image_pull_secret, "items": items}}
    return mounted(
        "model-credentials", source, f"{container.WEIGHTS_CREDENTIALS_DIR}/0", read_only=True
    )


def _guardrails(engine: RAGEngine, policy: str) -> Volumes:
    """The directory and not the file, which the kubelet would never bring up to date."""
    asked = ragenvironment.guardrails(engine)
    if not asked.enabled:
        return Volumes()
    name = asked.config_map_ref.name if asked.config_map_ref else policy
    directory = container.RAG_GUARDRAILS_FILE.rpartition("/")[0]
    return mounted("guardrails", {"configMap": {"name": name}}, directory, read_only=True)
